# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only what is left out, or null, has its default. An empty text, false, 0, {} or [] of the wrong type is refused: a
template whose variable is missing (`default('')`), or YAML's `off`, opens no door."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._firewalld import plan as firewalld
from ansible_collections.homelab.loadbalancer.tests.unit.cluster_models import CLUSTER_MODELS
from ansible_collections.homelab.loadbalancer.tests.unit.models import FALSY, HOST_MODELS, Model

MODELS = {**HOST_MODELS, **CLUSTER_MODELS}
CASES = [
    pytest.param(model, key, value, id="%s-%s-%r" % (name, key, value))
    for name, model in MODELS.items()
    for key, right in model.keys.items()
    for value in FALSY
    # Not `in`, by which 0 is False.
    if not any(type(value) is type(other) for other in right)
]


@pytest.mark.parametrize(("model", "key", "value"), CASES)
def test_a_falsy_value_of_a_wrong_type_is_refused(model: Model, key: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        model.parse({**model.entry, key: value})
    assert key in str(refused.value)


# Of a chain, the keys are names that the user chooses.
@pytest.mark.parametrize("name", [name for name in MODELS if name != "chain"])
def test_an_unknown_key_is_refused(name: str) -> None:
    model = MODELS[name]
    with pytest.raises(InputError, match="unknown_key is not"):
        model.parse({**model.entry, "unknown_key": 1})


@pytest.mark.parametrize("name", MODELS)
def test_missing_and_null_keys_have_their_default(name: str) -> None:
    model = MODELS[name]
    optional = {key: None for key in model.keys if key not in model.entry}
    assert model.parse({**model.entry, **optional}) == model.parse(model.entry)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.known is not None])
def test_every_key_of_a_model_is_tried(name: str) -> None:
    model = MODELS[name]
    assert set(model.known or ()) - set(model.entry) <= set(model.keys)


@pytest.mark.parametrize("kind", firewalld.KINDS)
def test_an_empty_value_of_a_zone_is_refused(kind: str) -> None:
    # Ansible makes [''] of an empty text where an option is a list.
    with pytest.raises(InputError, match=r"zones\[0\]\.%s\[0\] is empty" % kind):
        firewalld.parse_entries([{"zone": "public", kind: [""]}], "zones")
