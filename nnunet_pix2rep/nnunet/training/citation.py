"""What to cite, which every training prints at its start as nnU-Net's does."""

CITATION = (
    "\n#######################################################################\n"
    "Please cite the following papers when using Pix2Rep:\n"
    "Seince, M., Le Folgoc, L., Facury de Souza, L. A., & Angelini, E. (2024). Dense Self-Supervised Learning for "
    "Medical Image Segmentation. Medical Imaging with Deep Learning (MIDL). arXiv:2407.20395; and, for Pix2Rep-v2, "
    "arXiv:2609.01427.\n"
    "#######################################################################\n"
)
