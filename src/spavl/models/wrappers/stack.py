"""Wrappers for every backend: rate limits, retries, the spend stop, the ledger. From the outside to the inside:

    WithModelSettings, ImageSizeLimited, WithSystemPrompt, LedgerCached, WithThinkingRoom, Retrying,
    LoadBalanced, RateLimited, WithBudget, backend

Each wrapper is a ChatModel that wraps a ChatModel and does not depend on the others.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from spavl.errors import BudgetError, ConfigError, ProviderError
from spavl.models import call_outcomes
from spavl.models.image_tokens import UNKNOWN, tokens_of
from spavl.models.prices import FREE, Price
from spavl.models.types import (
    CallDeferred,
    ChatModel,
    Message,
    Outage,
    Reply,
    Request,
    RequestRejected,
    Transient,
    key_of,
)
from spavl.models.wrappers import learned_rate
from spavl.models.wrappers.rate_limit import RateLimiter
from spavl.store import Call, Ledger
from spavl.text.final_answer import part_thoughts

# The most tokens that a chat template adds to a message.
_FRAME = 16
# Seconds in which 429s for one request do not count as tries.
_PATIENCE = 900.0
# Seconds of 429s for one request after which the user is told.
_REPORTED_AFTER = 30.0


class RateLimited:
    """Delays requests so that the server is neither idle nor overloaded."""

    def __init__(self, inner: ChatModel, pace: RateLimiter) -> None:
        self.name, self._inner, self._pace = inner.name, inner, pace

    @property
    def pace(self) -> RateLimiter:
        return self._pace

    async def ask(self, request: Request) -> Reply:
        place = await self._pace.enter(_tokens_about(request))
        try:
            reply = await self._inner.ask(request)
            self._pace.went_well(place, reply.allowance)
            return reply
        except RequestRejected:
            # The server refuses this request, but it is up.
            self._pace.went_well(place)
            raise
        except Transient as error:
            if error.throttled:
                self._pace.slow_down(place, error.retry_after, error.allowance)
            else:
                self._pace.went_wrong(error.reason)
            if self._pace.breaker.away:
                raise Outage(error.reason, error.may_cost) from None
            raise
        finally:
            self._pace.leave(place)


class Retrying:
    """Retries after transient errors, with exponential backoff.

    An outage or a 429 is not caused by the request itself, so neither counts as a try; 429s count if they continue for
    too long, or if the server asks for too long a wait.
    """

    def __init__(
        self,
        inner: ChatModel,
        say: Callable[[str], None] = lambda _: None,
        *,
        tries: int = 7,
        first_wait: float = 0.5,
        longest_wait: float = 60.0,
    ) -> None:
        self.name, self._inner, self._say, self._said = inner.name, inner, say, False
        self._tries, self._first_wait, self._longest_wait = tries, first_wait, longest_wait

    async def ask(self, request: Request) -> Reply:
        attempt, began = 0, time.monotonic()
        while True:
            try:
                return await self._inner.ask(request)
            except Outage as error:
                if error.given_up:
                    raise
            except Transient as error:
                asked = error.retry_after or 0.0
                patient = time.monotonic() - began < _PATIENCE and asked <= learned_rate.LONGEST_WAIT
                if error.throttled and time.monotonic() - began > _REPORTED_AFTER:
                    self._report_throttled(error.reason)
                if not (error.throttled and patient):
                    attempt += 1
                    if attempt == self._tries:
                        raise
                wait = min(self._longest_wait, self._first_wait * 2 ** (attempt - 1)) if attempt else 0.0
                # Jitter, so that requests with the same wait are not sent at the same moment.
                own, theirs = wait * random.uniform(0.5, 1.5), self._limited_wait(asked) * random.uniform(1, 1.1)
                await asyncio.sleep(max(own, theirs))

    def _report_throttled(self, reason: str) -> None:
        if not self._said:
            self._said = True
            patience = f"it is sent again for up to {_PATIENCE / 60:.0f} minutes"
            self._say(f"{self.name} has answered a request with {reason} for {_REPORTED_AFTER:.0f} s: {patience}")

    def _limited_wait(self, asked: float) -> float:
        """The wait that a server asks for, limited to `LONGEST_WAIT`. The first limited wait is reported."""
        if asked > learned_rate.LONGEST_WAIT and not self._said:
            self._said = True
            bound = f"it is asked again after {learned_rate.LONGEST_WAIT:.0f} s, {self._tries} times in all"
            self._say(f"{self.name} wants to be left alone for {asked:,.0f} s: {bound}")
        return min(asked, learned_rate.LONGEST_WAIT)


class Budget:
    """The hard spend stop of a run. Money is reserved before a call is sent, so that the stop is never exceeded."""

    def __init__(self, usd: float | None, spent: float = 0.0) -> None:
        self.usd, self.spent, self._set_aside, self._under_way = usd, spent, 0.0, 0
        # Money that is reserved for requests in batches, which may take a day.
        self._held = 0.0
        self._settled, self._closed = asyncio.Event(), False

    async def set_aside(self, most: float) -> None:
        """Reserve money for a call. If calls in flight hold too much, wait: most cost less than was reserved for them.

        Raises CallDeferred if the money is held by batches, and BudgetError if the call would exceed the stop.
        """
        while self.usd is not None and self.spent + self._held + self._set_aside + most > self.usd:
            self._check(most)
            if self.spent + self._held + most > self.usd:
                raise CallDeferred
            await self._settled.wait()
            if self._closed:
                raise asyncio.CancelledError
        self._set_aside += most
        self._under_way += 1

    def close(self) -> None:
        """Reserve no more money. Calls that wait for it are cancelled."""
        self._closed = True
        self._settled.set()

    def refuse_unpriced(self, model: str) -> None:
        """Refuse a model without a known price if there is a spend stop."""
        if self.usd is not None:
            then = 'add it to [prices], in USD per million tokens: "NAME" = [in, out]'
            raise ConfigError("no price is known for this model, and there is a spend stop", where=model, then=then)

    def hold(self, most: float) -> None:
        """Reserve money for a batch request. Raises CallDeferred if other calls and batches have to finish first."""
        if self.usd is not None and self.spent + self._held + self._set_aside + most > self.usd:
            self._check(most)
            raise CallDeferred
        self._held += most

    def hold_again(self, most: float) -> None:
        """Reserve again what an earlier start had reserved for batches that are still under way."""
        self._held += most

    def release(self, most: float, paid: float) -> None:
        self._held = max(0.0, self._held - most)
        self.spent += paid

    def _check(self, most: float) -> None:
        if self.usd is not None and self.spent + most > self.usd:
            raise BudgetError(
                f"the next call may cost {most:.4f} USD and would pass the spend stop of {self.usd:.2f} USD",
                where=f"{self.spent:.4f} USD spent, {self._set_aside + self._held:.4f} USD in calls under way",
                then="raise it with --budget and type the same command; finished calls are not paid again",
            )

    def settle(self, most: float, paid: float) -> None:
        self._under_way -= 1
        # Reset to exactly zero: a remaining rounding error could make a call wait forever.
        self._set_aside = self._set_aside - most if self._under_way else 0.0
        self.spent += paid
        self._settled.set()
        self._settled = asyncio.Event()


# Records what an attempt without an answer may cost.
WriteOff = Callable[[float], Awaitable[None]]


class WithBudget:
    """Reserves the most that a call may cost before it is sent. `model` determines the tokens of an image.

    It is inside the wrappers that make calls wait, so that a waiting call reserves no money.
    """

    def __init__(
        self,
        inner: ChatModel,
        budget: Budget,
        price: Price | None,
        model: str = "",
        write_off: WriteOff | None = None,
    ) -> None:
        self.name, self._inner, self._budget, self._price, self._model = inner.name, inner, budget, price, model
        self._write_off = write_off

    async def ask(self, request: Request) -> Reply:
        if self._price is None:
            self._budget.refuse_unpriced(self.name)
            return await self._inner.ask(request)
        most, paid, lost = most_of(request, self._model, self._price), 0.0, False
        await self._budget.set_aside(most)
        try:
            reply = await self._inner.ask(request)
            # If the server does not report the usage, the most is assumed.
            paid = self._price.of(reply.tokens_in, reply.tokens_out) if reply.tokens_in else most
        except (Transient, asyncio.CancelledError) as error:
            # Each attempt counts. If its answer was lost, or it was cancelled after it was sent, the most is assumed.
            lost = isinstance(error, asyncio.CancelledError) or error.may_cost
            raise
        finally:
            self._budget.settle(most, most if lost else paid)
            if lost and most and self._write_off is not None:
                await self._write_off(most)
        return replace(reply, usd=paid)


# Calls in flight by their keys. They are shared if a model is opened twice, so that no call is made twice.
Flights = dict[str, asyncio.Task[Call]]


def call_of(ledger: Ledger, names: Sequence[str], spelled: str) -> Call | None:
    """The finished call, under the model's name or a former one. Calls rejected under a former name are not used."""
    if call := ledger.get(key_of(names[0], spelled)):
        return call
    found = (ledger.get(key_of(name, spelled)) for name in names[1:])
    return next((call for call in found if call and call.status != "rejected"), None)


class LoadBalanced:
    """One model at several addresses: each request is sent to the one with the least load.

    A request that fails at one address is sent to another at once: an address that fails quickly has the least load.
    """

    def __init__(self, places: Sequence[RateLimited], say: Callable[[str], None] = lambda _: None) -> None:
        self.name, self._places, self._say = places[0].name, list(places), say

    async def ask(self, request: Request) -> Reply:
        tried = list[RateLimited]()
        while True:
            left = [each for each in self._places if each not in tried] or self._places
            place = min(left, key=lambda each: (not each.pace.is_open, each.pace.load))
            try:
                return await place.ask(request)
            except ProviderError as error:
                # An address that never answered is removed while there is another.
                if place.pace.answered or self._places == [place]:
                    raise
                if place in self._places:
                    self._places.remove(place)
                    self._say(f"{self.name} goes on without {error.where}: {error.what}")
            except Transient as error:
                tried.append(place)
                given_up = isinstance(error, Outage) and error.given_up
                others = [each for each in self._places if each not in tried and (given_up or each.pace.is_open)]
                if error.throttled or not others:
                    raise


class LedgerCached:
    """Returns a call from the ledger if it is there. Otherwise makes it once, and records it before it returns."""

    def __init__(
        self,
        inner: ChatModel,
        ledger: Ledger,
        stage: str,
        flights: Flights | None = None,
        former: Sequence[str] = (),
    ) -> None:
        self.name, self._inner, self._ledger, self._stage = inner.name, inner, ledger, stage
        self._names = (inner.name, *former)
        self._under_way = {} if flights is None else flights

    async def ask(self, request: Request) -> Reply:
        spelled = request.canonical_text()
        key = key_of(self.name, spelled)
        call = call_of(self._ledger, self._names, spelled)
        if call is None:
            if key not in self._under_way:
                task = asyncio.create_task(self._send(key, spelled, request))
                self._under_way[key] = task
                task.add_done_callback(lambda done: self._land(key, done))
            call = await asyncio.shield(self._under_way[key])
        key = call.key
        if call.status == "rejected":
            call_outcomes.note_refusal(self.name, call.detail, key)
            raise RequestRejected(call.detail)
        call_outcomes.note_answer(self.name, key)
        return reply_of(call)

    def _land(self, key: str, flight: asyncio.Task[Call]) -> None:
        del self._under_way[key]
        if not flight.cancelled():
            flight.exception()  # marks the exception as retrieved, even if no caller waits any more

    async def _send(self, key: str, spelled: str, request: Request) -> Call:
        began = time.time()
        try:
            reply, fault = await self._inner.ask(request), ""
        except RequestRejected as error:
            reply, fault = Reply("", "stop"), str(error)
        call = Call(
            key=key,
            model=self.name,
            request=spelled,
            status="rejected" if fault else "ok" if reply.finish == "stop" else reply.finish,
            text=reply.text,
            detail=fault or " ".join(reply.without),
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            usd=reply.usd,
            seconds=time.time() - began,
            at=began,
            stage=self._stage,
            reasoning=reply.reasoning,
            reasoning_tokens=reply.reasoning_tokens,
        )
        await self._ledger.put(call)
        return call


def reply_of(call: Call) -> Reply:
    """The reply of a call in the ledger. Calls of earlier versions have thoughts in their text; these are separated."""
    parted = part_thoughts(call.text, call.status == "length")
    return Reply(
        parted.answer,
        "refused" if call.status == "rejected" else "stop" if call.status == "ok" else call.status,
        call.tokens_in,
        call.tokens_out,
        call.usd,
        call=call.key,
        without=tuple(call.detail.split()),
        reasoning=call.reasoning or parted.thoughts,
        reasoning_tokens=call.reasoning_tokens,
    )


class WithSystemPrompt:
    """A model with a system prompt before every request."""

    def __init__(self, inner: ChatModel, name: str, system_prompt: str) -> None:
        self.name, self._inner, self._system_prompt = f"{inner.name}+{name}", inner, system_prompt

    async def ask(self, request: Request) -> Reply:
        spoken = (Message("system", self._system_prompt), *request.messages)
        return await self._inner.ask(replace(request, messages=spoken))


def most_of(request: Request, model: str, price: Price) -> float:
    """An upper bound on the cost of a call: a token has at least one byte, and a message adds a few tokens."""
    if price == FREE:
        return 0.0
    bytes_ = sum(len(message.text.encode()) for message in request.messages)
    images = sum(tokens_of(image, model).most for message in request.messages for image in message.images)
    return price.of(bytes_ + _FRAME * (1 + len(request.messages)) + images, request.max_tokens)


def _tokens_about(request: Request) -> int:
    """An estimate of a request's tokens for the limit per minute. It may be wrong, but must not be far too high."""
    characters = sum(len(message.text) for message in request.messages)
    images = sum(len(message.images) for message in request.messages)
    return characters // 2 + UNKNOWN * images + request.max_tokens
