"""How the tests look at findings."""

from nnunet_pix2rep.doctor.findings import Level


def only_problem(findings, level):
    """The one finding that is not ok; it has the given level and names a remedy."""
    (problem,) = [finding for finding in findings if finding.level is not Level.OK]
    assert problem.level is level, problem
    assert problem.remedy
    return problem


def sound(findings):
    """Whether there are findings, all of them ok."""
    return bool(findings) and all(finding.level is Level.OK and not finding.remedy for finding in findings)
