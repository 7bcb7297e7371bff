"""Losses between paired pixel embeddings."""

from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.losses.pairs import PairLoss
from nnunet_pix2rep.losses.vicreg import VICRegLoss

__all__ = ["BarlowTwinsLoss", "InfoNCELoss", "PairLoss", "VICRegLoss"]
