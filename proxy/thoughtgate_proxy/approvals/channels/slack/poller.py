"""Looks for decisions: reads the messages of all pending requests, as often as Slack lets us."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from thoughtgate_proxy.approvals.channels.slack.client import Client
from thoughtgate_proxy.approvals.channels.slack.errors import SlackError
from thoughtgate_proxy.approvals.channels.slack.history import HistoryReader, Posted
from thoughtgate_proxy.approvals.channels.slack.message_ref import MessageRef, changed, reactions
from thoughtgate_proxy.approvals.channels.slack.reporter import Reporter
from thoughtgate_proxy.approvals.channels.slack.users import User, Users
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Approval, NoSuchTransition, State, Vote, VoteValue
from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Workflow
from thoughtgate_proxy.telemetry.log import Level

_DOING: Final = "reading reactions"

Replace = Callable[[Approval, MessageRef, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look, in seconds.

    A young request is looked at after `least`; then the pause grows with its age, as somebody who
    did not answer in the first minute is not sitting before it, up to `most`. `last_look` is how
    long before a request expires it is looked at for the last time.
    """

    least: float = 3.0
    most: float = 30.0
    last_look: float = 2.0
    by_age: float = 0.1

    def pause(self, pending: Sequence[Approval], now: float, pressure: float) -> float:
        """Seconds between two looks, without jitter.

        `now` is Unix time; `pressure` grows from 1 as Slack asks for pauses.
        """
        age = min((now - approval.opened for approval in pending), default=0.0)
        return min(self.most, max(self.least, self.by_age * age) * pressure)

    def last_chance(self, pending: Sequence[Approval], now: float) -> float:
        """Seconds until some request must be looked at for the last time; infinite if none."""
        left = (
            approval.expires - self.last_look - now
            for approval in pending
            if approval.state is State.PENDING
        )
        return min((seconds for seconds in left if seconds > 0), default=math.inf)


class Poller:
    """Turns reactions into votes."""

    def __init__(
        self,
        client: Client,
        history: HistoryReader,
        users: Users,
        queue: ApprovalQueue,
        reporter: Reporter,
        replace: Replace,
        *,
        pace: Pace,
        wall: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """`replace` asks anew for a request whose message is not ours any more."""
        self._client, self._history, self._users = client, history, users
        self._queue, self._reporter, self._replace = queue, reporter, replace
        self._pace, self._wall, self._random = pace, wall, random
        self._asked = asyncio.Event()
        self._pressure = 1.0
        self._ignored = BoundedCache[tuple[str, str], bool](most=1000, longest=100)

    def wake(self) -> None:
        """Something new is pending."""
        self._asked.set()

    async def run(self) -> None:
        """Look, until cancelled."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            # Those, too, whose place is being written down: nobody wakes us again for them.
            pending = self._queue.pending()
            self._asked.clear()
            if not pending:
                await self._asked.wait()
                looked = loop.time()
                continue
            now = self._wall()
            jitter = 0.8 + 0.4 * self._random()
            due = looked + jitter * self._pace.pause(pending, now, self._pressure)
            wait = min(due - loop.time(), self._pace.last_chance(pending, now))
            if wait > 0 and await self._woken(wait):
                continue
            pauses = self._client.rate_limits.pauses
            await self.look()
            looked = loop.time()
            # Many pods share one limit: each that meets it gives way, and comes back slowly.
            limited = self._client.rate_limits.pauses > pauses
            change = 2.0 if limited else 0.8
            self._pressure = min(10.0, max(1.0, change * self._pressure))

    async def _woken(self, seconds: float) -> bool:
        """Wait; whether something new was asked before the time was over."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True

    async def look(self) -> None:
        """Read all pending messages once, and count what is new."""
        channels: dict[str, list[tuple[Approval, MessageRef]]] = {}
        for approval in self._queue.pending():
            place = MessageRef.read(approval.message_ref)
            if place is not None:
                channels.setdefault(place.channel, []).append((approval, place))
        for channel, group in channels.items():
            try:
                await self._client.connect()
                found = await self._history.messages(channel, [place.ts for _, place in group])
            except SlackError as trouble:
                self._reporter.trouble(_DOING, trouble)
                continue
            self._reporter.well(_DOING)
            for approval, place in group:
                await self._weigh(approval, place, found[place.ts])

    async def _weigh(self, approval: Approval, place: MessageRef, message: Posted | None) -> None:
        current = self._queue.find(approval.id)
        if current is None or current.message_ref != approval.message_ref or current.state.final:
            return
        pending = current.state is State.PENDING
        if pending and (message is None or changed(message, place, self._client.me)):
            why = "deleted" if message is None else "changed"
            await self._replace(current, place, why)
            return
        workflow = self._queue.workflow(current)
        if workflow is None or message is None:
            return
        for given in reactions(message):
            # Once it was approved only a rejection can matter. That is the safe side, so that it
            # counts even on a message that is not ours any more.
            if given.verdict is VoteValue.APPROVE and current.state is not State.PENDING:
                continue
            for user in given.users:
                known = {vote.approver for vote in current.votes if vote.verdict is given.verdict}
                if user in known:
                    continue
                person = await self._approver(user, workflow, current)
                if person is None:
                    continue
                voted = await self._vote(current, place, person, given.verdict)
                if voted is None or voted.state is State.REJECTED:
                    return
                current = voted
                if current.state is not State.PENDING:
                    break

    async def _approver(self, user: str, workflow: Workflow, approval: Approval) -> User | None:
        try:
            person = await self._users.approver(user, workflow)
        except SlackError as trouble:
            self._reporter.trouble("finding out who reacted", trouble)
            return None
        if person is None and self._ignored.get((approval.id, user)) is None:
            self._ignored.put((approval.id, user), True, len(user))
            self._reporter.event(
                "a reaction does not count: its user may not decide",
                approval=approval.id, user=user, workflow=approval.asked.workflow,
            )  # fmt: skip
        return person

    async def _vote(
        self, approval: Approval, place: MessageRef, person: User, verdict: VoteValue
    ) -> Approval | None:
        """The approval with the vote; None if it came too late."""
        reason = ""
        if verdict is VoteValue.REJECT:
            try:
                reason = await self._history.reason(place.channel, place.ts, person.id)
            except SlackError as trouble:
                self._reporter.trouble("reading a rejection's reason", trouble)
        vote = Vote(person.id, person.name, verdict, self._wall(), reason)
        try:
            return await self._queue.vote(approval.id, vote)
        except NoSuchTransition:
            return None
        except StoreUnavailable as error:
            self._reporter.event(
                "a vote could not be kept; it is read again",
                Level.WARNING, approval=approval.id, reason=str(error),
            )  # fmt: skip
            return None
