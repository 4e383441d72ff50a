"""How many bytes of tensors live, and the most that ever did, while torch runs something."""

import weakref
from typing import Generic, TypeVar

import torch

Known = TypeVar("Known")


class _StorageReference(weakref.ref[torch.UntypedStorage]):
    """Tells the storage's address and size when it is gone; torch keeps the object alive as long as the memory."""

    __slots__ = ("address", "size_bytes")
    address: int
    size_bytes: int


class LiveStorages(Generic[Known]):
    """The storages that live, each counted once however many tensors lie in it, with what is known of each."""

    def __init__(self) -> None:
        self.live_bytes = 0
        self.peak_bytes = 0
        self._references: dict[int, _StorageReference] = {}
        self._known: dict[int, Known] = {}

    def find(self, storage: torch.UntypedStorage) -> Known | None:
        """What is known of a storage; None if it is new."""
        return self._known.get(storage._cdata)

    def add(self, storage: torch.UntypedStorage, known: Known) -> None:
        """Counts a storage from now until it is freed."""
        reference = _StorageReference(storage, self._freed)
        address = storage._cdata
        reference.address, reference.size_bytes = address, storage.nbytes()
        self._references[address] = reference
        self._known[address] = known
        self.live_bytes += reference.size_bytes
        if self.live_bytes > self.peak_bytes:  # noqa: PLR1730 - the call of max would take longer than the rest
            self.peak_bytes = self.live_bytes

    def _freed(self, reference: "weakref.ref[torch.UntypedStorage]") -> None:
        assert isinstance(reference, _StorageReference)
        del self._known[reference.address], self._references[reference.address]
        self.live_bytes -= reference.size_bytes
