"""Run by a test in an environment that has the SDK: one session with the server, and its answers as JSON.

Arguments: the server's command; a JSON file with the calls, a list of ``[tool, arguments]``.
"""

import json
import os
import sys
from pathlib import Path

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client


async def talk(command, calls):
    parameters = StdioServerParameters(command=command, args=["mcp"], env=dict(os.environ))
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        greeting = await session.initialize()
        tools = await session.list_tools()
        answers = []
        for tool, arguments in calls:
            answer = await session.call_tool(tool, arguments)
            answers.append(
                {
                    "error": answer.is_error,
                    "text": "".join(block.text for block in answer.content),
                    "document": answer.structured_content,
                }
            )
        return {
            "greeting": greeting.model_dump(mode="json"),
            "tools": {tool.name: tool.model_dump(mode="json") for tool in tools.tools},
            "answers": answers,
        }


if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    json.dump(anyio.run(talk, sys.argv[1], wanted), sys.stdout)
