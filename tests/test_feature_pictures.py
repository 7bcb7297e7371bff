import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from nnunet_pix2rep.feature_pictures import ColorBasis, FeaturePicture, gray, plot_patches, plot_picture


@pytest.fixture
def features():
    """Of two images of different sizes, shape (Y, X, 5)."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(8, 8, 5)), generator.normal(2, 3, size=(6, 9, 5))


def basis_of(*images, **settings):
    return ColorBasis.fit([image.reshape(-1, image.shape[-1]) for image in images], **settings)


def test_equal_features_have_equal_colors_in_all_images(features):
    first, second = features
    second[2, 3] = first[1, 1]
    basis = basis_of(first, second)
    colors = [basis.colors(image) for image in (first, second)]
    assert [picture.shape for picture in colors] == [(8, 8, 3), (6, 9, 3)]
    assert np.allclose(colors[1][2, 3], colors[0][1, 1])
    assert min(picture.min() for picture in colors) == 0
    assert max(picture.max() for picture in colors) == 1


def test_the_basis_is_the_pca_of_all_images_together(features):
    basis = basis_of(*features)
    together = np.concatenate([image.reshape(-1, 5) for image in features])
    np.testing.assert_allclose(basis.explained, PCA(3).fit(together).explained_variance_ratio_, rtol=1e-6)


def test_a_large_image_does_not_rule_the_basis(features):
    small, large = features[0].reshape(-1, 5), np.tile(features[1].reshape(-1, 5), (50, 1))
    drawn = ColorBasis.fit([small, large], pixels_per_image=64)
    assert drawn.components.n_samples_ == 128


def test_a_constant_feature_map_has_colors():
    constant = np.ones((4, 4, 5)) + np.random.default_rng(0).normal(0, 1e-9, (4, 4, 5))
    assert np.isfinite(basis_of(constant).colors(constant)).all()


def test_gray_spans_the_range_of_the_image():
    image = np.linspace(-5, 20, 400).reshape(20, 20)
    assert gray(image).min() == 0
    assert gray(image).max() == 1
    assert np.isfinite(gray(np.zeros((3, 3)))).all()


def test_a_picture_has_four_panels_and_copes_with_unknown_errors(tmp_path):
    image = np.random.default_rng(0).normal(size=(20, 30))
    unknown = np.full((20, 30), np.nan)
    for point, error in (((3, 4), np.abs(image)), (None, unknown)):
        picture = FeaturePicture("title", image, np.zeros((20, 30, 3)), image, error, (2.0, 1.0), point, "a point")
        plot_picture(picture, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as written:
            assert written.width > 3 * written.height
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_patches_stand_above_their_features(features, tmp_path):
    plot_patches([image[..., 0] for image in features], features, "Epoch 3", tmp_path / "patches.png")
    with Image.open(tmp_path / "patches.png") as written:
        assert min(written.size) > 400
