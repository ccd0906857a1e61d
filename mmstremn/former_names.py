"""Modules that have moved: importing one under its former name gives the module under its present one, with a
warning."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from types import ModuleType

# Former: present, both without the package; a name stands for what is below it too.
MOVED = {
    'adapters.mmseg_': 'adapters.mmseg',
    'adapters.tracking': 'adapters.mmdet',
    'analysis': 'comparison',
    'datasets.base': 'datasets.vos.base',
    'datasets.davis': 'datasets.vos.davis',
    'datasets.davis_layout': 'datasets.vos.davis_layout',
    'datasets.image_io': 'datasets.io.images',
    'datasets.static_clips': 'datasets.vos.static_clips',
    'datasets.static_image': 'datasets.vos.static_image',
    'datasets.static_layouts': 'datasets.vos.static_layouts',
    'datasets.synthetic_actions': 'datasets.synthetic.actions',
    'datasets.synthetic_journeys': 'datasets.synthetic.journeys',
    'datasets.synthetic_layers': 'datasets.synthetic.layers',
    'datasets.synthetic_long': 'datasets.synthetic.long_videos',
    'datasets.synthetic_photos': 'datasets.synthetic.photos',
    'datasets.synthetic_scene': 'datasets.synthetic.scene',
    'datasets.synthetic_video': 'datasets.synthetic.rendered_video',
    'datasets.transforms': 'datasets.vos.transforms',
    'datasets.video': 'structures.video',
    'datasets.video_file': 'datasets.io.video_file',
    'datasets.weighting': 'datasets.vos.weighting',
    'datasets.youtube_vos': 'datasets.vos.youtube_vos',
    'engine.atomic': 'utils.atomic',
    'engine.checkpoint': 'engine.hooks.checkpoint',
    'engine.convert': 'checkpoints.convert',
    'engine.public_models': 'checkpoints.public_models',
    'engine.weight_files': 'checkpoints.weight_files',
    'memory.align': 'memory.slots.align',
    'memory.diversity': 'memory.slots.diversity',
    'memory.fusion': 'memory.slots.fusion',
    'memory.gates': 'memory.slots.gates',
    'memory.growing': 'memory.published.stm_stcn',
    'memory.gumbel': 'memory.slots.gumbel',
    'memory.history': 'memory.slots.history',
    'memory.local_reader': 'memory.readers',
    'memory.merging': 'memory.published.afb_urr',
    'memory.recent_prompted': 'memory.published.sam2',
    'memory.selectors': 'memory.slots.selectors',
    'memory.slot_memory': 'memory.slots.slot_memory',
    'memory.two_level': 'memory.published.xmem',
    'models.data_preprocessor': 'models.segmentation.preprocessor',
    'models.decoder': 'models.segmentation.decoders',
    'models.encoders': 'models',  # now in several files
    'models.frame_coders': 'models',
    'models.losses': 'models.segmentation.losses',
    'models.given_masks': 'models.segmentation.given_masks',
    'models.merged_stream': 'models.segmentation.merged_stream',
    'models.prediction_loss': 'models.prediction.losses',
    'models.published_decoders': 'models.segmentation.published_decoders',
    'models.published_encoders': 'models.segmentation.published_encoders',
    'models.sampling': 'models.prediction.sampling',
    'models.stream': 'models.segmentation.stream',
    'models.video_inference': 'models.segmentation.inference',
    'models.video_predictor': 'models.prediction.predictor',
    'models.vos_segmentor': 'models.segmentation.segmentor',
}
PACKAGE = 'mmstremn.'


class FormerNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules under their former names."""

    def find_spec(self, name: str, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """A spec whose loader imports the present module; None for every other name."""
        present = present_name(name)
        return None if present is None else importlib.machinery.ModuleSpec(name, self, loader_state=present)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module under its present name."""
        present = spec.loader_state
        warnings.warn(f'{spec.name} is now {present}', DeprecationWarning, stacklevel=2)
        module = importlib.import_module(present)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back; it has been executed under its present name."""
        module.__spec__ = module.__spec__.loader_state


def present_name(name: str) -> str | None:
    """What a moved module is called now; None if it has not moved."""
    parts = name.removeprefix(PACKAGE).split('.') if name.startswith(PACKAGE) else []
    for length in range(len(parts), 0, -1):
        present = MOVED.get('.'.join(parts[:length]))
        if present is not None:
            return PACKAGE + '.'.join([present, *parts[length:]])
    return None


def install() -> None:
    """Let Python find modules under their former names."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, FormerNames())
