"""How pairs are dealt out to groups: as defined, alike in every process, and no more at once than fits."""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from nnunet_pix2rep.losses.groups import PairGroups, number_of_groups

CPU = torch.device("cpu")
COUNTS = st.lists(st.integers(2, 40), min_size=1, max_size=4)


@given(num_pairs=st.integers(2, 300), negatives=st.integers(2, 700))
def test_no_group_has_more_negatives_than_wanted_nor_a_pair_alone(num_pairs, negatives):
    groups = number_of_groups(num_pairs, negatives)
    sizes = [len(range(group, num_pairs, groups)) for group in range(groups)]
    assert min(sizes) >= 2
    assert max(sizes) <= max(3, (negatives + 2) // 2)  # 3 where an odd number is dealt out in twos


@given(counts=COUNTS, negatives=st.integers(2, 60), chunk_size=st.integers(1, 60))
def test_in_every_process_the_groups_are_cut_alike_and_hold_the_pairs_that_belong_to_them(
    counts, negatives, chunk_size
):
    num_groups = number_of_groups(sum(counts), negatives)
    cuts = []
    for rank in range(len(counts)):
        dealt = PairGroups.dealt_out(num_groups, counts, rank, chunk_size)
        cuts.append([groups.numbers for groups in dealt])
        start = sum(counts[:rank])
        for groups in dealt:
            rows = torch.arange(start, start + counts[rank])[:, None]
            mine, others = groups.mine(rows).squeeze(2), groups.others(CPU)
            for number, own, of_others in zip(groups.numbers, mine.tolist(), others.tolist(), strict=True):
                members = set(range(number, sum(counts), num_groups))
                assert set(own) == members & set(range(start, start + counts[rank]))
                assert set(of_others) == members - set(own)
                assert len(own) + len(of_others) == len(members)
    assert all(cut == cuts[0] for cut in cuts)
    assert [number for numbers in cuts[0] for number in numbers] == list(range(num_groups))


@given(counts=COUNTS, negatives=st.integers(2, 60), chunk_size=st.integers(1, 60))
def test_groups_that_are_worked_out_at_once_have_no_more_similarities_than_a_block(counts, negatives, chunk_size):
    num_groups = number_of_groups(sum(counts), negatives)
    for rank in range(len(counts)):
        for groups in PairGroups.dealt_out(num_groups, counts, rank, chunk_size):
            own, others = groups.mine(torch.empty(counts[rank], 1)), groups.others(CPU)
            similarities = 2 * own.shape[1] * 2 * (own.shape[1] + others.shape[1]) * len(own)
            assert len(own) == 1 or similarities <= chunk_size**2


@given(counts=COUNTS, negatives=st.integers(2, 60), chunk_size=st.integers(1, 60))
@example(counts=[40, 20], negatives=28, chunk_size=60)  # pairs that are dealt out evenly in each process
def test_values_are_put_to_where_they_are_taken_from(counts, negatives, chunk_size):
    num_groups = number_of_groups(sum(counts), negatives)
    for rank, count in enumerate(counts):
        rows, copied = torch.randn(count, 3), torch.full((count, 3), torch.nan)
        for groups in PairGroups.dealt_out(num_groups, counts, rank, chunk_size):
            groups.set_mine(copied, groups.mine(rows))
        assert torch.equal(copied, rows)


def test_all_groups_of_a_size_are_worked_out_at_once_where_there_is_room():
    dealt = PairGroups.dealt_out(4, [41], 0, chunk_size=1000)
    assert [groups.numbers for groups in dealt] == [range(1), range(1, 4)]  # 11 pairs, and 10 each
