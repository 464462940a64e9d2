"""A reference: a place in a file that names the template in use."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from lxcast.references.rewriting import Change

if TYPE_CHECKING:
    from lxcast.references.pin_file import Pin

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Move:
    """What moving a reference changed, or would change."""

    change: Change
    address: str
    old: str
    """The value before; "" if there was none."""
    new: str


class Reference(Protocol[Value]):
    """A literal in an HCL file, or an entry of a pin file. A reference is opened by its path and read from disk."""

    @property
    def address(self) -> str:
        """Where in its file the reference is."""

    def read(self) -> Value:
        """Return what it holds; PinError if it is missing, ambiguous or invalid."""

    def move(self, expected: Value, pin: "Pin", *, write: bool = True) -> Move:
        """Point it at another template.

        Raises PinError if it does not hold `expected`, as returned by `read`, and if the file cannot be changed;
        nothing is changed then.
        """
