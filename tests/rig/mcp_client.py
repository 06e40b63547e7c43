#!/usr/bin/env python3
"""A real MCP client, the official Python SDK, goes from template to applied through /mcp.

    mcp_client.py URL        e.g. http://127.0.0.1:8000

Goes the whole way in each revision that the SDK speaks (the stateless one, and the older ones with
`initialize`), with a client that can ask its person and with one that cannot; then lets the person
say no, rejects a plan, cancels a deployment, and makes two mistakes on purpose. Prints a line for
each deployment with the state it ended in. Exit code 0 when everything was as it should be.

Where the SDK is not importable, it starts itself again with $SLIPWAY_TEST_MCP_PYTHON, which
tests/rig/tools (`mcp-sdk`) makes.
"""

import asyncio
import os
import sys
import uuid

try:
    from mcp import Client
    from mcp_types import ElicitResult
except ImportError:
    python = os.environ.pop("SLIPWAY_TEST_MCP_PYTHON", None)
    if python is None:
        sys.exit("The MCP SDK is missing; `./test mcp` installs it and says where it is.")
    os.execv(python, [python, *sys.argv])

TOOLS = {
    "list_templates",
    "submit_deployment",
    "get_deployment",
    "get_plan",
    "approve_deployment",
    "reject_deployment",
    "cancel_deployment",
    "wait_for_deployment",
    "read_logs",
}
# One run may be one of several against the same server.
RUN = uuid.uuid4().hex[:8]


def check(holds, why):
    if not holds:
        raise AssertionError(why)


class Agent:
    """A client that knows its person's mind: True, False, or None when it cannot ask."""

    def __init__(self, client, asked):
        self.client = client
        self.asked = asked

    async def refused(self, tool, **arguments):
        """Calls a tool that must refuse, and gives the structured error."""
        result = await self.client.call_tool(tool, arguments)
        check(result.is_error, f"{tool} {arguments} was not refused: {result}")
        return result.structured_content

    async def call(self, tool, progress=None, **arguments):
        """Calls a tool that must succeed, and gives its structured content."""
        result = await self.client.call_tool(tool, arguments, progress_callback=progress)
        check(not result.is_error, f"{tool} {arguments} failed: {result.content}")
        check(result.content and result.content[0].text, f"{tool} has no text")
        return result.structured_content

    async def submit(self, name):
        deployment = await self.call(
            "submit_deployment",
            stack={"project": "mcp", "name": f"{name}-{RUN}", "environment": "test"},
            source={"type": "template", "name": "hello"},
            variables={"name": name, "copies": 2},
            idempotency_key=f"{name}-{RUN}",
        )
        return deployment["deployment_id"]

    async def planned(self, name):
        """Submits, waits for the plan, and gives the deployment's id and the plan's digest."""
        deployment = await self.submit(name)
        waited = await self.call("wait_for_deployment", deployment_id=deployment, timeout_s=120)
        check(waited["reached"] == "person", f"it did not wait for approval: {waited}")
        check(waited["state"] == "awaiting_approval", waited)
        plan = await self.call("get_plan", deployment_id=deployment)
        check(plan["counts"]["create"] == 2, plan)
        return deployment, plan["plan_digest"]

    async def ended(self, deployment):
        waited = await self.call("wait_for_deployment", deployment_id=deployment, timeout_s=120)
        check(waited["reached"] == "ended", waited)
        return waited["state"]


class session:
    """A connection in one revision, by a client whose person says `answer`."""

    def __init__(self, url, mode, answer):
        self.asked = []

        async def ask(context, params):
            self.asked.append(params.message)
            if answer:
                return ElicitResult(action="accept", content={"approve": True})
            return ElicitResult(action="decline")

        self.client = Client(
            f"{url}/mcp",
            mode=mode,
            read_timeout_seconds=180,
            elicitation_callback=None if answer is None else ask,
        )

    async def __aenter__(self):
        return Agent(await self.client.__aenter__(), self.asked)

    async def __aexit__(self, *error):
        return await self.client.__aexit__(*error)


async def from_template_to_applied(url, mode, answer):
    async with session(url, mode, answer) as agent:
        listed = await agent.client.list_tools()
        tools = {tool.name: tool for tool in listed.tools}
        check(TOOLS <= tools.keys(), f"tools are missing: {TOOLS - tools.keys()}")
        check(tools["get_plan"].annotations.read_only_hint, "get_plan only reads")
        check(all(tool.output_schema for tool in listed.tools), "every tool has an output schema")

        templates = await agent.call("list_templates", name="hello")
        inputs = {i["name"]: i for i in templates["templates"][0]["inputs"]}
        check(inputs["name"]["required"] and not inputs["copies"]["required"], inputs)

        told = []

        async def progress(now, total, message):
            told.append((now, message))

        deployment = await agent.submit(f"all-the-way-{'asks' if answer else 'alone'}-{mode}")
        waited = await agent.call(
            "wait_for_deployment", progress, deployment_id=deployment, timeout_s=120
        )
        check(waited["state"] == "awaiting_approval", waited)
        check(told, "no progress was told while it was planned")
        check(told == sorted(told, key=lambda step: step[0]), f"progress went back: {told}")

        plan = await agent.call("get_plan", deployment_id=deployment, detail="full")
        addresses = [change["address"] for change in plan["changes"]]
        check("terraform_data.greeting[0]" in addresses, plan)
        other = await agent.refused(
            "approve_deployment", deployment_id=deployment, plan_digest="sha256:" + "0" * 64
        )
        check(other["code"] == "plan_digest_mismatch", other)
        check(not agent.asked, "nobody is asked about a plan that is not there")

        await agent.call(
            "approve_deployment", deployment_id=deployment, plan_digest=plan["plan_digest"]
        )
        check(len(agent.asked) == (1 if answer else 0), f"the person was asked {agent.asked}")
        check(all(plan["plan_digest"] in question for question in agent.asked), agent.asked)
        state = await agent.ended(deployment)
        check(state == "succeeded", state)

        outputs = await agent.call("get_outputs", deployment_id=deployment)
        greeting = next(o for o in outputs["outputs"] if o["name"] == "greetings")
        check(len(greeting["value"]) == 2, outputs)
        log = await agent.call("read_logs", deployment_id=deployment, after=0, limit=200)
        check(any("terraform_data.greeting" in line["text"] for line in log["lines"]), log)
        version = agent.client.protocol_version
        print(f"{deployment} {state} (revision {version}, person {'asked' if answer else 'not asked'})")
        return version


async def other_ends(url, mode):
    async with session(url, mode, False) as agent:
        deployment, digest = await agent.planned(f"declined-{mode}")
        no = await agent.refused(
            "approve_deployment", deployment_id=deployment, plan_digest=digest
        )
        check(no["code"] == "forbidden" and len(agent.asked) == 1, no)
        still = await agent.call("get_deployment", deployment_id=deployment)
        check(still["state"] == "awaiting_approval", f"a no changed something: {still}")
        await agent.call(
            "reject_deployment", deployment_id=deployment, plan_digest=digest, comment="no"
        )
        print(f"{deployment} {await agent.ended(deployment)} (the person said no)")

        deployment = await agent.submit(f"stopped-{mode}")
        await agent.call("cancel_deployment", deployment_id=deployment, reason="changed my mind")
        state = await agent.ended(deployment)
        check(state == "cancelled", state)
        print(f"{deployment} {state} (stopped)")

        wrong = await agent.refused(
            "submit_deployment",
            stack={"project": "mcp", "name": "wrong", "environment": "test"},
            source={"type": "template", "name": "hello"},
            variables={"name": "x", "copies": "many"},
        )
        check(any("copies" in error["pointer"] for error in wrong["errors"]), wrong)
        check(wrong["hint"], wrong)


async def main(url):
    versions = set()
    for mode in ("2026-07-28", "legacy"):
        for answer in (None, True):
            versions.add(await from_template_to_applied(url, mode, answer))
        await other_ends(url, mode)
    check(len(versions) == 2, f"both worlds were to be tried: {versions}")
    print("everything was as it should be")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1].rstrip("/")))
