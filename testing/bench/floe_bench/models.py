"""The models of a generated product: their SQL, properties and tests, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

DOMAINS = (
    *("sales", "finance", "marketing", "support", "product", "logistics", "people", "risk"),
    *("billing", "partners", "growth", "web"),
)
ENTITIES = (
    *("orders", "customers", "payments", "invoices", "tickets", "sessions", "shipments"),
    *("refunds", "campaigns", "contracts", "visits", "messages"),
)

MARTS_PER_EXPOSURE = 15
_EPHEMERAL_EVERY = 5
_INCREMENTAL_EVERY = 6
_SINGULAR_EVERY = 8
_ACROSS_DOMAINS_EVERY = 4

Below = Callable[[int], int]
"""Draws a whole number from 0, below a limit."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model, with what is written about it."""

    name: str
    domain: str
    folder: str
    sql: str
    properties: dict[str, Any]
    entity: str = ""
    table: str = ""
    singular_tests: tuple[tuple[str, str], ...] = field(default=())


def staging(count: int, domains: Sequence[str]) -> tuple[Model, ...]:
    """One view for each table of a source: renamed, tidied."""
    return tuple(
        _staging(domains[number % len(domains)], number // len(domains)) for number in range(count)
    )


def _staging(domain: str, place: int) -> Model:
    round_, kind = divmod(place, len(ENTITIES))
    entity = ENTITIES[kind]
    table = entity if round_ == 0 else f"{entity}_{round_ + 1}"
    name, key = f"stg_{domain}__{table}", f"{entity[:-1]}_id"
    return Model(
        name=name,
        domain=domain,
        folder=f"staging/{domain}",
        sql=_STAGING.format(domain=domain, table=table, key=key),
        properties={
            "name": name,
            "description": f"{entity.capitalize()} of {domain}, one row each, tidied",
            "config": {"meta": {"owner": f"{domain}@example.com", "tier": "bronze"}},
            "columns": [
                _key(key, f"Number of the {entity[:-1]} in the source system"),
                {"name": "account_id", "description": "{{ doc('account_id') }}"},
                _email("email"),
                _status(has_test=place % 4 == 0),
                {"name": "country_code", "description": "ISO 3166 code of the account's country"},
                _amount("amount"),
                {"name": "created_at", "description": "When the row was created, in UTC"},
                {"name": "updated_at", "description": "{{ doc('updated_at') }}"},
            ],
        },
        entity=entity,
        table=table,
    )


def source_table(model: Model) -> dict[str, Any]:
    """Describe the table that a staging model reads."""
    return {
        "name": model.table,
        "identifier": model.entity,
        "description": f"{model.entity.capitalize()} as exported",
        "columns": [
            {"name": "id", "description": "Number of the row"},
            _email("email"),
            {"name": "amount_cents", "description": "Amount in hundredths"},
        ],
    }


def intermediate(
    count: int, domains: Sequence[str], read: Sequence[Model], below: Below
) -> tuple[Model, ...]:
    """Joins within a domain; every fifth is ephemeral, the others are views."""
    found = []
    for number in range(count):
        domain, place = domains[number % len(domains)], number // len(domains)
        inside = [model for model in read if model.domain == domain]
        first = inside[place % len(inside)]
        others = [model for model in inside if model is not first]
        found.append(_intermediate(domain, place, first, others[below(len(others))], number))
    return tuple(found)


def _intermediate(domain: str, place: int, first: Model, second: Model, number: int) -> Model:
    name = f"int_{domain}__{first.table}_with_{second.table}_{place + 1}"
    is_ephemeral = number % _EPHEMERAL_EVERY == _EPHEMERAL_EVERY - 1
    materialized = "{{ config(materialized='ephemeral') }}\n\n" if is_ephemeral else ""
    key = f"{first.entity[:-1]}_id"
    sql = _INTERMEDIATE.format(first=first.name, second=second.name, key=key)
    return Model(
        name=name,
        domain=domain,
        folder=f"intermediate/{domain}",
        sql=materialized + sql,
        properties={
            "name": name,
            "description": f"{first.entity.capitalize()} with the {second.entity} of the account",
            "config": {"meta": {"owner": f"{domain}@example.com", "tier": "silver"}},
            "columns": [
                {"name": "row_id", "description": "One for each row", "data_tests": ["not_null"]},
                {"name": "account_id", "description": "{{ doc('account_id') }}"},
                _email("email"),
                _status(has_test=False),
                _amount("amount"),
                {"name": "related_count", "description": f"Number of {second.entity}"},
                _amount("related_amount"),
            ],
        },
        entity=first.entity,
    )


def marts(
    count: int, domains: Sequence[str], read: Sequence[Model], below: Below
) -> tuple[Model, ...]:
    """Tables for readers; every sixth is incremental, some join a mart of another domain."""
    found: list[Model] = []
    for number in range(count):
        domain, place = domains[number % len(domains)], number // len(domains)
        inside = [model for model in read if model.domain == domain]
        first, second = inside[place % len(inside)], inside[below(len(inside))]
        if number % _INCREMENTAL_EVERY == _INCREMENTAL_EVERY - 1:
            found.append(_events(domain, place, first))
            continue
        accounts = [model for model in found if model.name.startswith("dim_")]
        other = None
        if accounts and number % _ACROSS_DOMAINS_EVERY == 0:
            other = accounts[below(len(accounts))]
        found.append(_accounts(domain, place, first, second, other, number))
    return tuple(found)


def _accounts(
    domain: str, place: int, first: Model, second: Model, other: Model | None, number: int
) -> Model:
    name = f"dim_{domain}__accounts_by_{first.entity}_{place + 1}"
    join, column = "", ""
    if other is not None:
        join = f"left join {{{{ ref('{other.name}') }}}} as other using (account_id)\n"
        column = ",\n  other.total_amount as amount_elsewhere"
    columns: list[dict[str, Any]] = [
        {
            "name": "account_key",
            "description": "Key of the account in this mart",
            "data_tests": ["not_null", "unique"] if number % 2 else ["not_null"],
        },
        {"name": "account_id", "description": "{{ doc('account_id') }}"},
        _email("contact_email"),
        _country(has_test=number % 5 == 0),
        {"name": "country_name", "description": "Name of the country in English"},
        {"name": "region", "description": "Part of the world"},
        {
            "name": "events",
            "description": "Number of rows",
            "data_tests": ["not_negative"] if number % 3 == 0 else [],
        },
        _amount("total_amount"),
        {"name": "tier", "description": "Size of the account"},
    ]
    return Model(
        name=name,
        domain=domain,
        folder=f"marts/{domain}",
        sql=_ACCOUNTS.format(first=first.name, second=second.name, join=join, column=column),
        properties=_mart(name, f"Accounts by their {first.entity}, one row each", domain, columns),
        singular_tests=_singular(name, number),
    )


def _events(domain: str, place: int, first: Model) -> Model:
    name = f"fct_{domain}__{first.entity}_{place + 1}"
    columns = [
        {**_key("event_key", "One for each event"), "data_tests": ["not_null"]},
        {"name": "account_id", "description": "{{ doc('account_id') }}"},
        _email("email"),
        _status(has_test=True),
        {"name": "is_final", "description": "Whether nothing happens after the state"},
        _amount("amount"),
        {"name": "updated_at", "description": "{{ doc('updated_at') }}"},
    ]
    return Model(
        name=name,
        domain=domain,
        folder=f"marts/{domain}",
        sql=_EVENTS.format(first=first.name),
        properties=_mart(name, f"{first.entity.capitalize()} as they came", domain, columns),
    )


def _mart(
    name: str, description: str, domain: str, columns: list[dict[str, Any]]
) -> dict[str, Any]:
    meta = {
        "owner": f"{domain}@example.com",
        "tier": "gold",
        "freshness": {"hours": 24, "severity": "warn"},
    }
    return {
        "name": name,
        "description": description,
        "config": {"tags": [domain], "meta": meta},
        "columns": columns,
    }


def _singular(name: str, number: int) -> tuple[tuple[str, str], ...]:
    if number % _SINGULAR_EVERY:
        return ()
    return ((f"assert_{name}_has_one_row_an_account", _ONE_ROW.format(name=name)),)


def _key(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "description": description, "data_tests": ["unique", "not_null"]}


def _email(name: str) -> dict[str, Any]:
    classification = {"classification": "pii", "pii_type": "email", "sensitivity": "high"}
    return {
        "name": name,
        "description": "{{ doc('email') }}",
        "config": {"meta": {"floe": classification}, "tags": ["personal"]},
    }


def _amount(name: str) -> dict[str, Any]:
    meta = {"unit": "currency", "floe": {"classification": "confidential"}}
    return {"name": name, "description": "{{ doc('amount') }}", "config": {"meta": meta}}


def _status(*, has_test: bool) -> dict[str, Any]:
    column: dict[str, Any] = {"name": "status", "description": "State that the row is in"}
    values = ["new", "active", "paused", "done", "cancelled"]
    if has_test:
        column["data_tests"] = [{"accepted_values": {"arguments": {"values": values}}}]
    return column


def _country(*, has_test: bool) -> dict[str, Any]:
    column: dict[str, Any] = {"name": "country_code", "description": "ISO 3166 code"}
    arguments = {"to": "ref('countries')", "field": "country_code"}
    if has_test:
        column["data_tests"] = [{"relationships": {"arguments": arguments}}]
    return column


_STAGING = """\
with source as (

  select * from {{{{ source('{domain}', '{table}') }}}}

),

tidied as (

  select
    id as {key},
    account_id,
    {{{{ normalise_email('email') }}}} as email,
    lower(trim(status)) as status,
    country_code,
    {{{{ cents_to_units('amount_cents') }}}} as amount,
    cast(created_at as timestamp) as created_at,
    cast(updated_at as timestamp) as updated_at
  from source

)

select * from tidied
"""

_INTERMEDIATE = """\
with rows_of_account as (

  select * from {{{{ ref('{first}') }}}}

),

related as (

  select
    account_id,
    count(*) as related_count,
    sum(amount) as related_amount
  from {{{{ ref('{second}') }}}}
  where {{{{ is_positive('amount') }}}}
  group by account_id

)

select
  rows_of_account.{key} as row_id,
  rows_of_account.account_id,
  rows_of_account.email,
  rows_of_account.status,
  rows_of_account.country_code,
  rows_of_account.amount,
  coalesce(related.related_count, 0) as related_count,
  coalesce(related.related_amount, 0) as related_amount,
  rows_of_account.updated_at
from rows_of_account
left join related using (account_id)
"""

_ACCOUNTS = """\
with amounts as (

  select
    account_id,
    min(email) as contact_email,
    min(country_code) as country_code,
    count(*) as events,
    sum(amount) as total_amount
  from {{{{ ref('{first}') }}}}
  group by account_id

),

latest as (

  select account_id, max(updated_at) as updated_at
  from {{{{ ref('{second}') }}}}
  group by account_id

)

select
  {{{{ surrogate_key(['amounts.account_id', 'amounts.country_code']) }}}} as account_key,
  amounts.account_id,
  amounts.contact_email,
  amounts.country_code,
  countries.country_name,
  countries.region,
  amounts.events,
  amounts.total_amount,
  account_tiers.tier,
  latest.updated_at{column}
from amounts
left join latest using (account_id)
left join {{{{ ref('countries') }}}} as countries using (country_code)
left join {{{{ ref('account_tiers') }}}} as account_tiers
  on amounts.total_amount between account_tiers.lowest_amount and account_tiers.highest_amount
{join}"""

_EVENTS = """\
{{{{ config(materialized='incremental', unique_key='event_key') }}}}

select
  {{{{ surrogate_key(['row_id', 'account_id']) }}}} as event_key,
  account_id,
  email,
  status,
  is_final,
  amount,
  updated_at
from {{{{ ref('{first}') }}}}
left join {{{{ ref('statuses') }}}} as statuses using (status)
where {{{{ newer_rows('updated_at') }}}}
"""

_ONE_ROW = """\
select account_id, count(*) as number_of_rows
from {{{{ ref('{name}') }}}}
group by account_id
having count(*) > 1
"""
