"""When a card has paid for itself, by the prices that a person gives. There are no prices in here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Payback"]


@dataclass(frozen=True, slots=True)
class Payback:
    """Prices, in any one currency, and what follows from them.

    Nothing of it is measured, and no speed-up enters it: it asks how long renting a GPU would cost as much as the card,
    and whether the rented one is comparable is for the person to judge. Electricity, the rest of the computer and what
    the card is worth afterwards are left out.

    Attributes:
        card_price: of the card.
        cloud_price: of a rented GPU for an hour.
        hours_per_day: how long one is in use on each day.

    """

    card_price: float
    cloud_price: float
    hours_per_day: float

    @property
    def days(self) -> float:
        """After how many days the rent would have cost as much as the card."""
        return self.card_price / (self.cloud_price * self.hours_per_day)

    def as_json(self) -> dict[str, float]:
        """Give what `bench --json` prints of it."""
        return {
            "card_price": self.card_price,
            "cloud_price": self.cloud_price,
            "hours_per_day": self.hours_per_day,
            "days": self.days,
        }
