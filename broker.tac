"""``twistd -ny broker.tac``: the broker with the configuration that ``BROKER_CONFIG`` names."""

import os

from twisted.application.service import Application

from crowdai_broker.tap import Options, makeService

options = Options()
options.parseOptions(["--config", os.environ.get("BROKER_CONFIG", "broker.toml")])
application = Application("crowdai-broker")
makeService(options).setServiceParent(application)
