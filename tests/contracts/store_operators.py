"""What every store tells operators: what is open, what a job still owes, which nodes there are."""

from __future__ import annotations

from crowdai_broker.core.model import EffectKind, EffectState

from .making import COMPLETE, a_move, acceptance, effect
from .store_case import StoreCase


class OperatorsContract(StoreCase):
    async def test_open_until_nothing_is(self) -> None:
        """An execution is listed while a job or an effect of it is open, and again if one comes up later."""
        store = await self.make_store()
        for name in ("x", "y"):
            await store.accept(acceptance(name))
        self.assertEqual(await store.open_executions(9), ["x", "y"])
        self.assertEqual(await store.open_executions(1), ["x"])
        self.assertEqual(await store.open_executions(0), [])
        await store.move(
            [a_move("x-0", to=COMPLETE, effects=(effect(),)), a_move("y-0", to=COMPLETE)], "n1", 1
        )
        self.assertEqual(await store.open_executions(9), ["x"])
        await store.move([a_move("x-0", done=EffectKind.GRADE)], "n1", 1)
        self.assertEqual(await store.open_executions(9), [])
        await store.move([a_move("y-0", effects=(effect(),))], "n1", 1)
        self.assertEqual(await store.open_executions(9), ["y"])

    async def test_effects_of_a_job(self) -> None:
        """A job's effects are told as they stand, and not once they are settled."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect(EffectKind.REGISTER, '{"a":1}')]))
        (found,) = await store.effects_of("x-0")
        self.assertEqual(
            (found.kind, found.job_id, found.body, found.state, found.tries, found.note),
            (EffectKind.REGISTER, "x-0", '{"a":1}', EffectState.NEW, 0, ""),
        )
        await store.lease_effects(5, 100, 9, "n1")
        await store.postpone_effect(EffectKind.REGISTER, "x-0", EffectState.HELD, 9, "in doubt", "n1")
        (found,) = await store.effects_of("x-0")
        self.assertEqual((found.state, found.tries, found.note), (EffectState.HELD, 1, "in doubt"))
        await store.move([a_move("x-0", done=EffectKind.REGISTER)], "n1", 1)
        self.assertEqual(await store.effects_of("x-0"), [])

    async def test_operator_takes_up_what_is_held(self) -> None:
        """An effect that is held can be made due by who has no lease on it."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect(EffectKind.REGISTER)]))
        await store.lease_effects(5, 100, 9, "n1")
        await store.postpone_effect(EffectKind.REGISTER, "x-0", EffectState.HELD, 9, "in doubt", "n1")
        done = await store.postpone_effect(EffectKind.REGISTER, "x-0", EffectState.NEW, 10, "retried", "op")
        self.assertTrue(done)
        self.assertEqual(await store.held_effects(9), [])
        (leased,) = await store.lease_effects(10, 100, 9, "n1")
        self.assertEqual((leased.state, leased.note), (EffectState.NEW, "retried"))

    async def test_nodes(self) -> None:
        """Nodes are told with the end of their lives, until they are adopted."""
        store = await self.make_store()
        await store.beat("n1", 0, 10)
        await store.beat("n2", 5, 100)
        self.assertEqual(await store.nodes(), {"n1": 10, "n2": 105})
        await store.adopt("n2", 10)
        self.assertEqual(await store.nodes(), {"n2": 105})
