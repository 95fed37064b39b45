"""What goes wrong, in random order: deaths at every step, and everything around the broker."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from tests.world.broker.programs import Program

from .grader import MOMENTS
from .steps import EVERY_STEP, SLOW, STORE_STEPS
from .world import READY, SteppedBroker, World, tell

POLL = 0.03  # s between looks
BROKER, REDIS = "a broker", "Redis"
DEAD_FOR = 1.5  # s at most that what was killed stays away
REDIS_AWAY = 2.0  # s at most
MISSED = (10.0, 18.0)  # s after which the other brokers take over, more or less
STEP_COMES = 15.0  # s after which what leads to a step is done again
STEP_MUST_COME = 90.0  # s after which a step counts as not reached
CREATING = ("register", "grade")
ASKING = ("submissions", "submission_info", "participant", "challenge_config", "challenge")
FAULTS = ("error", "error_after", "empty", "hang", "hang_after", "drop", "drop_after", "busy", "garbage")

Act = Callable[[], None]


class Director:
    """Does all that is to be done to a world.

    :param share: part of the acts (0 to 1) that are done, for a short run; 1: all.
    :ivar injected: faults, by kind.
    :ivar reached: how often somebody was killed at a step: ``accept.before: a broker``.
    """

    def __init__(self, world: World, chance: random.Random, share: float = 1.0) -> None:
        self.injected: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self._world = world
        self._chance = chance
        self._slow = {step for step in sorted(SLOW) if chance.random() < share}
        self._back: dict[Program, float] = {}  # what is dead, and when it comes back
        self._acts = [act for act in self._all_acts() if chance.random() < share]
        chance.shuffle(self._acts)
        self.wanted = {f"{step}: {BROKER}" for step in self._slow}
        self.wanted |= {f"{act.step}: {act.victim}" for act in self._acts if isinstance(act, _AtStep)}

    # --- what there is to do -------------------------------------------------------------------------------

    def _all_acts(self) -> list[Act]:
        fast = [step for step in EVERY_STEP if step not in SLOW]
        acts: list[Act] = [_AtStep(self, step) for step in fast]
        acts += [_RedisAtStep(self, f"{name}.before") for name in STORE_STEPS if f"{name}.before" not in SLOW]
        acts += [lambda moment=moment: self._kill_grader(moment) for moment in MOMENTS * 2]  # type: ignore[misc]
        acts += [lambda call=call: self._fail(call) for call in CREATING for _ in FAULTS]  # type: ignore[misc]
        acts += [lambda call=call: self._fail(call) for call in ASKING]  # type: ignore[misc]
        acts += [self._leave_redis_away, self._freeze_broker]
        acts += [self._kill_redis, self._kill_redis, self._kill_broker, self._kill_broker, self._kill_brokers]
        return acts

    def run(self) -> None:
        """Do everything once."""
        for act in self._acts:
            self.one(act)
        self._await_slow_steps()

    def one(self, act: Act | None = None) -> None:
        """Do one thing, any if none is said, and let a little time pass."""
        self._some_broker_is_ready()
        (act or self._chance.choice(self._acts))()
        self._pass(self._chance.uniform(0.1, 0.9))

    def calm(self) -> None:
        """Let everything run again, and nothing go wrong any more."""
        self._slow.clear()
        self._world.webapp.mend()
        self._back = dict.fromkeys(self._back, 0.0)
        self.tick()
        self._arm([])
        self._world.ready()

    # --- single acts ---------------------------------------------------------------------------------------

    def _kill_grader(self, moment: str) -> None:
        grader = self._chance.choice(self._world.graders)
        tell(grader, {"die": moment})
        self.injected[f"a grader dies: {moment}"] += 1

    def _fail(self, call: str) -> None:
        fault = self._chance.choice(FAULTS)
        times = self._chance.choice((1, 1, 2, 4))
        self._world.webapp.fault(call, fault, times=times, seconds=0.5)

    def _kill_redis(self) -> None:
        self.injected["Redis is killed at any time"] += 1
        self._world.restart_redis(self._chance.uniform(0, 3 * REDIS_AWAY))

    def _leave_redis_away(self) -> None:
        self.injected["Redis is away until all brokers count as dead"] += 1
        self._world.restart_redis(self._chance.uniform(*MISSED))

    def _freeze_broker(self) -> None:
        broker = self._chance.choice(self._world.brokers)
        broker.signal(signal.SIGSTOP)
        self.injected["a broker is frozen until it is missed"] += 1
        self._pass(self._chance.uniform(*MISSED))
        broker.signal(signal.SIGCONT)

    def _kill_broker(self) -> None:
        self._chance.choice(self._world.brokers).kill()
        self.injected["a broker is killed at any time"] += 1

    def _kill_brokers(self) -> None:
        for broker in self._world.brokers:
            broker.kill()
        self.injected["all brokers are killed at once"] += 1

    def provoke(self, step: str) -> None:
        """Do what leads to a step that does not come by itself."""
        name = step.partition(".")[0]
        if name == "postpone":
            self._world.webapp.fault("register", "error", times=2)
        elif name == "submissions":
            self._world.webapp.fault("register", "drop_after", times=2)
        elif name == "submission_info":
            self._world.webapp.fault("grade", "drop_after", times=2)
        elif name == "overdue":
            self._kill_grader("popped")
        elif name in ("adopt", "drop"):
            self._kill_broker()

    # --- steps ---------------------------------------------------------------------------------------------

    def at_step(self, step: str, victim: str) -> None:
        """Let somebody die at a step: the broker that reaches it, or Redis while a broker takes it."""
        planned: dict[str, object] = {"step": step, "of": victim}
        if victim == REDIS:
            planned |= {"kill": self._world.redis_process(), "delay": self._chance.uniform(0, 0.003)}
        name = f"{step}: {victim}"
        before = self.reached[name]
        began = time.monotonic()
        self._arm([planned])
        while time.monotonic() < began + STEP_MUST_COME:
            self.provoke(step)
            until = time.monotonic() + STEP_COMES
            while time.monotonic() < until:
                if self.reached[name] > before:
                    self._arm([])
                    return
                self._pass(POLL, [planned])
        self._arm([])

    def _await_slow_steps(self) -> None:
        until = time.monotonic() + STEP_MUST_COME
        while self._slow and time.monotonic() < until:
            self._some_broker_is_ready()
            for step in sorted(self._slow):
                self.provoke(step)
                self._pass(1.0)
            self._pass(STEP_COMES)

    def _arm(self, planned: list[dict[str, object]]) -> None:
        for broker in self._world.brokers:
            self._arm_one(broker, planned)

    def _arm_one(self, broker: SteppedBroker, planned: list[dict[str, object]]) -> None:
        broker.plan([*planned, *({"step": step, "of": BROKER} for step in sorted(self._slow))])

    # --- time ----------------------------------------------------------------------------------------------

    def _pass(self, seconds: float, planned: list[dict[str, object]] | None = None) -> None:
        until = time.monotonic() + seconds
        while True:
            self.tick(planned or [])
            if time.monotonic() >= until:
                return
            time.sleep(POLL)

    def tick(self, planned: list[dict[str, object]] | None = None) -> None:
        """See who died at which step, and bring back who has been dead for long enough."""
        for broker in tuple(self._world.brokers):
            for line in broker.unread(saw="step"):
                broker.expect(0, **line)
                self.reached[f"{line['step']}: {line['of']}"] += 1
                if line["step"] in self._slow:
                    self._slow.discard(line["step"])
                    self._arm(planned or [])
            if self._may_return(broker):
                self._world.bring_back(broker)
                self._arm_one(self._world.brokers[self._world.ports.index(broker.port)], planned or [])
        for grader in tuple(self._world.graders):
            if self._may_return(grader):
                self._world.replace_grader(grader)

    def _may_return(self, program: Program) -> bool:
        if program.running:
            return False
        due = self._back.setdefault(program, time.monotonic() + self._chance.uniform(0, DEAD_FOR))
        if time.monotonic() < due:
            return False
        del self._back[program]
        return True

    def _some_broker_is_ready(self) -> None:
        until = time.monotonic() + READY
        while not any(broker.is_ready() for broker in self._world.brokers):
            if time.monotonic() > until:
                raise AssertionError(f"no broker is ready within {READY:g} s\n{self._world.logs()[-5000:]}")
            self._pass(POLL)


class _AtStep:
    """A broker is killed at a step."""

    victim = BROKER

    def __init__(self, director: Director, step: str) -> None:
        self._director = director
        self.step = step

    def __call__(self) -> None:
        """Do it."""
        self._director.at_step(self.step, self.victim)


class _RedisAtStep(_AtStep):
    """Redis is killed while a broker takes a step."""

    victim = REDIS

    def __call__(self) -> None:
        """Do it."""
        super().__call__()
        director = self._director
        director._world.restart_redis(director._chance.uniform(0, REDIS_AWAY))
