"""A GPU that need not be there: shapes, types and devices are worked out, no numbers."""

import copy

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.memory_cases import on_tensors, run
from helpers.no_questions import NoQuestions


class AbsentGPU(FakeTensorMode):
    """Within it an operation on tensors of two devices fails, as it would on a GPU."""

    def take(self, tensor: Tensor) -> Tensor:
        """The tensor as one of the GPU."""
        moved = self.from_tensor(tensor.detach())
        with self:
            return moved.to('cuda')

    def take_module(self, module: nn.Module) -> nn.Module:
        """A copy of the module on the GPU."""
        module = copy.deepcopy(module)
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                part._parameters[name] = nn.Parameter(self.take(parameter), parameter.requires_grad)
            for name, buffer in part.named_buffers(recurse=False):
                part._buffers[name] = self.take(buffer)
        return module


def devices_of_a_stream(memory, entries, queries, seeds=None) -> set[str]:
    """Where the readouts and the state are, after an object joined and another left.

    Fails where the host would wait for the device in the stream before.
    """
    gpu = AbsentGPU()
    memory = gpu.take_module(memory)
    entries, queries = ([on_tensors(each, gpu.take) for each in data] for data in (entries, queries))
    with gpu, torch.set_grad_enabled(memory.training):
        with NoQuestions():
            state, tensors = run(memory, entries, queries, seeds)
        state = memory.remove_objects(memory.add_objects(state, 1), [0])
        readout, state = memory.read(memory.write(state, entries[0]), queries[0])
        tensors += [readout, *state.tensors().values()]
        for call in (memory.distance, memory.timeline, memory.object_tokens):
            tensors += _asked(call, state, queries[0])
    return {tensor.device.type for tensor in tensors}


def _asked(call, state, query) -> list[Tensor]:
    """The answer, of a memory that gives one."""
    try:
        answer = call(state, query) if call.__name__ == 'distance' else call(state)
    except TypeError as error:
        if 'keeps no' not in str(error):
            raise
        return []
    return [] if answer is None else [answer]
