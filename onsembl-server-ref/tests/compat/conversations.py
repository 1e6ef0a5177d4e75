"""The conversations that are recorded. See README.md for what is in which."""

import asyncio

from tap import Peer
from world import DATA, SPEAKS, TALKS, WAITS, World, ends, page, request, wrapper, wrapper_hello, wrapper_output


async def joined(world, name="ada", words=()):
    """A dashboard that watches, a tap, and an agent in session behind it."""
    board = await page(world)
    await world.log.quiet()
    tap = await world.tap("agent", "ann")
    # A terminal is there before there is a link, so that it is the same story each time.
    tap.gate.clear()
    await world.agent(name, "ann", tap, words)
    await asyncio.sleep(1)
    tap.gate.set()
    agent = await world.id_of("ann", name)
    await board.expect("AGENT_STATUS", lambda p: p["agentId"] == agent and p["status"] == "online")
    await world.log.quiet(0.8)
    return board, tap, agent


async def agent_life():
    """The agent and two dashboards at the server: commands, a cut link, the end by an order."""
    async with World() as world:
        log, ask = world.log, world.web.ask
        board, tap, ada = await joined(world)
        board.send("COMMAND_REQUEST", request(ada, "c-speaks", SPEAKS, args=["one", "two"]), "r-1")
        await ends(board, "c-speaks", "completed")
        await log.quiet()
        fails = "sleep 0.3; printf '\\377\\000'; sleep 0.3; exit 3"
        board.send("COMMAND_REQUEST", request(ada, "c-fails", fails), "r-2")
        await ends(board, "c-fails", "failed")
        await log.quiet()
        # The same id again runs nothing.
        board.send("COMMAND_REQUEST", request(ada, "c-fails", "exit 3"), "r-3")
        await log.quiet()
        cancelled = request(ada, "c-cancelled", WAITS, env={"A": "b"}, workingDirectory="/")
        board.send("COMMAND_REQUEST", cancelled, "r-4")
        await board.expect("TERMINAL_STREAM", lambda p: p["commandId"] == "c-cancelled")
        await log.quiet()
        board.send("COMMAND_CANCEL", {"commandId": "c-cancelled", "reason": "User cancelled"}, "r-5")
        await ends(board, "c-cancelled", "cancelled")
        await log.quiet()
        words = ("exec", "ada", "--", SPEAKS + "; exit 7")
        await world.cli("ann", *words, tap=await world.tap("exec", "ann"), check=7)
        await log.quiet()

        board.send("COMMAND_REQUEST", request(ada, "c-resumed", WAITS), "r-6")
        await board.expect("TERMINAL_STREAM", lambda p: p["commandId"] == "c-resumed")
        await log.quiet()
        tap.cut()
        await log.quiet(1.5)
        await world.id_of("ann", "ada")
        await log.quiet()
        board.send("COMMAND_CANCEL", {"commandId": "c-resumed", "force": True}, "r-7")
        await ends(board, "c-resumed", "cancelled")
        await log.quiet()
        replay = {"streamType": "STDOUT", "offset": 3}
        board.send("DASHBOARD_SUBSCRIBE", {"type": "command", "id": "c-speaks", "replay": replay}, "r-8")
        await log.quiet()
        board.send("PING", {"timestamp": 1762080004000}, "r-9")
        await log.quiet()
        for path in ("/api/agents", "/api/commands", "/api/commands/c-speaks", "/api/commands/c-cancelled",
                     "/api/commands/c-speaks/output", "/api/commands/nothing", "/readyz"):
            await ask("ann", "GET", path)
        await ask("bob", "GET", "/api/agents")
        board.send("AGENT_CONTROL", {"agentId": ada, "action": "STOP", "reason": "enough"}, "r-10")
        await log.quiet()
        await ask("ann", "GET", "/api/agents")
        board.send("COMMAND_REQUEST", request(ada, "c-queued", "true"), "r-11")
        await ends(board, "c-queued", "queued")
        await log.quiet()
        await ask("ann", "DELETE", f"/api/agents/{ada}")
        await log.quiet()
        await board.close(1001)
        await log.quiet()
        log.write(DATA / "conversations/agent-life.jsonl")


async def orders():
    """What is no command: pause and resume, an audit, stops that hold and their release."""
    async with World() as world:
        log, ask = world.log, world.web.ask
        board, _, ada = await joined(world)
        await ask("ann", "POST", f"/api/agents/{ada}/control", {"action": "PAUSE"})
        await log.quiet()
        board.send("COMMAND_REQUEST", request(ada, "c-paused", SPEAKS), "r-1")
        await log.quiet()
        await ask("ann", "GET", "/api/agents")
        await ask("ann", "GET", "/api/commands/c-paused")
        await ask("ann", "POST", f"/api/agents/{ada}/control", {"action": "RESUME"})
        await ends(board, "c-paused", "completed")
        await log.quiet()
        await ask("ann", "GET", f"/api/agents/{ada}/audit")
        await log.quiet()

        board.send("COMMAND_REQUEST", request(ada, "c-stopped", WAITS), "r-2")
        await board.expect("TERMINAL_STREAM", lambda p: p["commandId"] == "c-stopped")
        await log.quiet()
        await ask("ann", "POST", "/api/stop", {"agent": ada, "reason": "smoke"})
        await ends(board, "c-stopped", "cancelled")
        await log.quiet()
        board.send("COMMAND_REQUEST", request(ada, "c-refused", "true"), "r-3")
        await board.expect("ERROR")
        await ask("ann", "GET", f"/api/agents/{ada}")
        await ask("ann", "POST", "/api/release", {"agent": ada})
        await log.quiet()
        board.send("EMERGENCY_STOP", {"reason": "fire", "affectedAgents": []}, "r-4")
        await log.quiet(0.8)
        board.send("STOP_RELEASE", {"all": True}, "r-5")
        await log.quiet(0.8)
        await ask("ann", "GET", "/api/commands/c-stopped")
        await ask("ann", "POST", f"/api/agents/{ada}/control", {"action": "STOP"})
        await log.quiet()
        await board.close(1001)
        await log.quiet()
        log.write(DATA / "conversations/orders.jsonl")


async def terminal():
    """An agent with a terminal: opened, typed into, keys, another size, ended."""
    async with World() as world:
        log, ask = world.log, world.web.ask
        words = ["--runner", "terminal", "--", "/bin/sh", "-c", TALKS]
        board, tap, tess = await joined(world, "tess", words)
        board.send("COMMAND_REQUEST", request(tess, "c-text", "one thing", executionConstraints={}), "r-1")
        await ends(board, "c-text", "completed")
        await log.quiet(0.8)
        keys = request(tess, "c-keys", "h i enter", input="keys")
        board.send("COMMAND_REQUEST", keys, "r-2")
        await ends(board, "c-keys", "completed")
        await log.quiet(0.8)
        board.send("COMMAND_REQUEST", request(tess, "c-wrong", "hyper-x", input="keys"), "r-3")
        await ends(board, "c-wrong", "failed")
        await log.quiet()
        board.send("COMMAND_REQUEST", request(tess, "c-control", "a\u0003"), "r-4")
        await ends(board, "c-control", "failed")
        await log.quiet()
        await ask("ann", "POST", f"/api/agents/{tess}/control", {"action": "RESIZE", "size": {"columns": 100, "rows": 30}})
        await log.quiet()
        tap.cut()
        await log.quiet(1.5)
        await world.id_of("ann", "tess")
        await log.quiet()
        board.send("COMMAND_REQUEST", request(tess, "c-again", "after the cut"), "r-5")
        await ends(board, "c-again", "completed")
        await log.quiet(0.8)
        await ask("ann", "GET", "/api/commands")
        await ask("ann", "GET", f"/api/agents/{tess}/audit")
        await log.quiet()
        await ask("ann", "POST", f"/api/agents/{tess}/control", {"action": "STOP"})
        await log.quiet(1)
        await ask("ann", "GET", "/api/commands")
        await board.close(1001)
        await log.quiet()
        log.write(DATA / "conversations/terminal.jsonl")


async def legacy():
    """A TypeScript wrapper and a TypeScript dashboard at the server."""
    async with World() as world:
        log, ask = world.log, world.web.ask
        tap = await world.tap("wrapper", "ann")
        mock, taught = await wrapper(world, tap, "mock-1")
        ping = await mock.expect("PING")
        mock.send("PONG", {"timestamp": ping["timestamp"]}, "pong-1")
        await log.quiet()
        boards = await world.tap("board", "ann")
        board = await Peer.open(boards, "/ws/dashboard", world.tokens["ann", "dashboard"], in_query=True)
        init = {"userId": "ann", "subscriptions": {"agents": {"all": True}, "commands": {"all": True}, "terminals": True, "traces": True}}
        board.send("DASHBOARD_INIT", init, "msg_1")
        await board.expect("ACK")
        await log.quiet()
        later = await page(world)
        await log.quiet()

        board.send("COMMAND_REQUEST", {**request(taught, "cmd-1", "say", args=["a", "b c"])}, "msg_2")
        await mock.expect("COMMAND_REQUEST")
        await log.quiet()
        mock.send("COMMAND_ACK", {"commandId": "cmd-1", "agentId": "mock-1", "status": "EXECUTING"}, "ack-1")
        await log.quiet()
        mock.send("TERMINAL_OUTPUT", wrapper_output("cmd-1", "mock-1", 1, "hello\nwor"), "out-1")
        await log.quiet()
        mock.send("TERMINAL_OUTPUT", wrapper_output("cmd-1", "mock-1", 2, "ld\n\u001b[31mred\u001b[0m\n"), "out-2")
        await log.quiet()
        mock.send("TERMINAL_OUTPUT", wrapper_output("cmd-1", "mock-1", 3, "an error\nleft", "STDERR"), "out-3")
        await log.quiet()
        mock.send("COMMAND_COMPLETE", {"commandId": "cmd-1", "agentId": "mock-1", "status": "COMPLETED", "exitCode": 0, "executionTime": 40, "tokensUsed": 3}, "done-1")
        await log.quiet()
        # Its other two shapes: `content`, and nobody named.
        board.send("COMMAND_REQUEST", {"agentId": taught, "commandId": "cmd-2", "content": "again", "type": "execute", "priority": 90}, "msg_3")
        await mock.expect("COMMAND_REQUEST")
        await log.quiet()
        board.send("COMMAND_CANCEL", {"commandId": "cmd-2", "reason": "User cancelled"}, "msg_4")
        await mock.expect("COMMAND_CANCEL")
        await log.quiet()
        mock.send("COMMAND_COMPLETE", {"commandId": "cmd-2", "agentId": "mock-1", "status": "CANCELLED"}, "done-2")
        await log.quiet()
        board.send("COMMAND_REQUEST", {"commandId": "cmd-3", "content": "alone"}, "msg_5")
        await mock.expect("COMMAND_REQUEST")
        await log.quiet()
        # What it cannot: directories, keys, orders.
        board.send("COMMAND_REQUEST", request(taught, "cmd-4", "ls", workingDirectory="/tmp"), "msg_6")
        await board.expect("ERROR")
        board.send("AGENT_CONTROL", {"agentId": taught, "action": "PAUSE"}, "msg_7")
        await board.expect("ERROR")
        board.send("COMMAND_REQUEST", request("nobody", "cmd-5", "ls"), "msg_8")
        await board.expect("ERROR")
        await log.quiet()
        mock.send("TERMINAL_OUTPUT", wrapper_output("mock-1", "mock-1", 4, "by itself\n"), "out-4")
        await log.quiet()
        mock.send("AGENT_HEARTBEAT", {"agentId": "mock-1", "healthMetrics": {"cpu_usage": 12.5, "memory_usage": 64, "uptime": 100, "commands_processed": 2, "active_commands": 0, "average_response_time": 40}}, "beat-1")
        await log.quiet()
        mock.send("AGENT_ERROR", {"agentId": "mock-1", "errorType": "EXECUTION", "message": "a hiccup", "recoverable": True}, "error-1")
        mock.text("no message")
        mock.send("NOBODY_KNOWS", {}, "unknown-1")
        await log.quiet()
        mock.send("AGENT_CONNECT", wrapper_hello(taught), "connect-2")
        await log.quiet()
        board.send("DASHBOARD_SUBSCRIBE", {"type": "agent", "id": taught}, "msg_9")
        await board.expect("ACK")
        board.send("DASHBOARD_UNSUBSCRIBE", {"type": "traces", "all": True}, "msg_10")
        await board.expect("ACK")
        board.send("PING", {"timestamp": 1762080004000}, "msg_11")
        await board.expect("PONG")
        for path in ("/api/agents", "/api/commands", "/api/commands/cmd-1", "/api/commands/cmd-1/output"):
            await ask("ann", "GET", path)
        # The next one ends the one before, whose end nobody saw.
        board.send("COMMAND_REQUEST", request(taught, "cmd-6", "next"), "msg_12")
        await mock.expect("COMMAND_REQUEST")
        await log.quiet()
        board.send("EMERGENCY_STOP", {"reason": "fire", "triggeredBy": "ann", "timestamp": 1762080004000, "affectedAgents": []}, "msg_13")
        await mock.expect("EMERGENCY_STOP")
        await log.quiet()
        tap.cut()
        await world.id_of("ann", "mock-1", "reconnecting")
        await log.quiet()
        mock, again = await wrapper(world, tap, taught, f"/ws/agent?agentId={taught}")
        assert again == taught
        await mock.expect("PING")
        await log.quiet()
        await ask("ann", "GET", f"/api/agents/{taught}/audit")
        await mock.close(1000)
        await log.quiet()
        board.send("COMMAND_REQUEST", request(taught, "cmd-7", "away"), "msg_14")
        await board.expect("ERROR")
        await log.quiet()
        await ask("ann", "GET", "/api/commands")
        await board.close(1001)
        await later.close(1001)
        await log.quiet()
        log.write(DATA / "conversations/legacy.jsonl")
