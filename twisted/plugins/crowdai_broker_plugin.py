"""Tells twistd of ``crowdai-broker``."""

from twisted.application.service import ServiceMaker

crowdai_broker = ServiceMaker(
    "crowdAI broker",
    "crowdai_broker.tap",
    "Broker between challenge participants, graders and the webapp",
    "crowdai-broker",
)
