"""Answering *explain*, for operators and for customers."""

from licensing.api.shapes import ExplainQuery
from licensing.core.api.operations import Answer, Call
from licensing.core.errors import BadRequest, NotFound
from licensing.services.explain import ExplanationShown, explain
from licensing.services.state import State, decide


def explanation(call: Call, customer_id: str, *, for_customer: bool) -> Answer:
    """Explain what the query names. Raises `NotFound`, `BadRequest`."""
    query: ExplainQuery = call.query
    if query.version and not query.plugin:
        raise BadRequest("version: name the plugin too.", field="version")

    def by(state: State) -> ExplanationShown:
        customer = state.customer(customer_id)
        if customer is None:
            raise NotFound()
        return explain(
            customer=customer,
            state=state,
            now=call.now.timestamp(),
            plugin=query.plugin,
            version=query.version,
            feature=query.feature,
            for_customer=for_customer,
        )

    return Answer(decide(by))
