"""The small compiled loop that runs a program: a flat table of kernel calls, shared by the threads that take part.

An entry of the table is three numbers: the kernel, its arguments, and flags. Bit 0: the threads share the kernel's
work; else the first thread does it. Bit 1: all threads wait for each other before it. Bit 2: the step may be left
before it, if somebody has asked for that. Threads leave together: the first decides for all, at a meeting. One thread
may also do it all: the part of each, one after the other, which gives the same numbers.
"""

from __future__ import annotations

import platform
from contextlib import nullcontext

from undertow.compile.ir import Emitter, Module, Value

SHARED, WAIT, MAY_LEAVE = 1, 2, 4
ENTRY = 3
ALL = -1  # in place of a thread's number: the parts of all of them
LINE = 128  # bytes that two processors do not fetch together
SPINS = 5000  # rounds of waiting before a thread lets others have the processor


def write_driver(module: Module) -> None:
    """Write ``run(job, steps)`` and the place where threads meet.

    The job is five numbers: the table's address, its entries, the thread, how many there are, the meeting place's
    address. A thread of `ALL` does the parts of all threads.
    It returns how many steps were done: all, unless the first number of the meeting place became another than 0.

    Args:
        module: where it goes.
    """
    pause = {"x86_64": "pause", "AMD64": "pause", "aarch64": "yield", "arm64": "yield"}.get(platform.machine(), "")
    meeting = _MEETING.replace("PAUSE", pause).replace("SPINS", str(SPINS))
    module.functions.append(meeting.replace("LINE", str(LINE)))
    module.declarations["yield"] = "declare i32 @sched_yield()"
    e = Emitter(module, "run", [("job", "ptr"), ("steps", "i64")], result="i64")
    names = {"table": "ptr", "n": "i64", "thread": "i64", "threads": "i64", "meeting": "ptr"}
    for number, (name, kind) in enumerate(names.items()):  # Python passes two numbers in half of the time of six
        e.args[name] = e.load(e.address(e.args["job"], number, "i64"), kind)
    done = e.variable(e.const(0, "i64"))
    # One thread gets loops of its own: of a step of 1 µs, the questions that only several threads ask are a tenth.
    several = e.args["thread"] >= 0
    for alone in (True, False):
        with e.when(~several if alone else several), e.loop(0, e.args["steps"]) as step:
            with e.loop(0, e.args["n"]) as i:
                _write_call(e, i, alone)
            done.set(step + 1)
    e.line("br label %leave")
    e.label("leave")
    with e.when(several):
        _write_meeting(e)
    e.finish(done.get())


def meeting_bytes(threads: int) -> int:
    """Return how much memory so many threads need to meet: a line of 0s, and one for each of them."""
    return LINE * (threads + 1)


def _write_meeting(e: Emitter, may_leave: str = "false") -> Value:
    """Write the wait of all threads for each other; whether they leave, as a number."""
    place, thread, threads = (e.args[name].text for name in ("meeting", "thread", "threads"))
    return e.instruction(f"call i64 @meet(ptr {place}, i64 {thread}, i64 {threads}, i1 {may_leave})", "i64", 0)


def _write_leave(e: Emitter, stop: Value) -> None:
    """Write the end of the run if a number is not 0."""
    with e.when(stop != 0):
        e.line("br label %leave")
        e.label(e.fresh("never"))


def _write_call(e: Emitter, i: Value, alone: bool) -> None:
    """Write the call of an entry of the table, and what is to be asked before it."""
    thread, threads = e.args["thread"], e.args["threads"]
    entry = e.address(e.args["table"], i * ENTRY, "i64")
    function, args = e.load(entry, "ptr"), e.load(e.address(entry, 1, "i64"), "ptr")
    flags = e.load(e.address(entry, 2, "i64"), "i64")
    may_leave = (flags & MAY_LEAVE) != 0
    if alone:
        with e.when(may_leave):
            asked = f"load atomic i64, ptr {e.args['meeting'].text} monotonic, align 8"
            _write_leave(e, e.instruction(asked, "i64", 0))
    else:
        with e.when((flags & WAIT) != 0):
            _write_leave(e, _write_meeting(e, may_leave.text))
    shared = (flags & SHARED) != 0
    with e.when(shared), e.loop(0, threads) if alone else nullcontext(thread) as part:
        e.line(f"call void {function.text}(ptr {args.text}, i64 {part.text}, i64 {threads.text})")
    with e.when(~shared if alone else ~shared & (thread == 0)):
        e.line(f"call void {function.text}(ptr {args.text}, i64 0, i64 1)")


# Each thread has a line of the cache to itself, where it says how many meetings it has come to; the others read it. The
# first thread has there also the number of the meeting at which it decided that all leave, if they may at that meeting.
_MEETING = """define internal i64 @meet(ptr %place, i64 %thread, i64 %threads, i1 %may_leave) nounwind noinline {
entry:
  %lines = getelementptr i8, ptr %place, i64 LINE
  %own_offset = mul i64 %thread, LINE
  %own = getelementptr i8, ptr %lines, i64 %own_offset
  %before = load atomic i64, ptr %own monotonic, align 8
  %round = add i64 %before, 1
  %left_at = getelementptr i8, ptr %lines, i64 8
  %first = icmp eq i64 %thread, 0
  %decides = and i1 %first, %may_leave
  br i1 %decides, label %ask, label %come
ask:
  %asked = load atomic i64, ptr %place monotonic, align 8
  %wanted = icmp ne i64 %asked, 0
  br i1 %wanted, label %decide, label %come
decide:
  store atomic i64 %round, ptr %left_at monotonic, align 8
  br label %come
come:
  store atomic i64 %round, ptr %own release, align 8
  br label %each
each:
  %other = phi i64 [ 0, %come ], [ %next, %there ]
  %offset = mul i64 %other, LINE
  %at = getelementptr i8, ptr %lines, i64 %offset
  br label %wait
wait:
  %spins = phi i64 [ 0, %each ], [ %more, %again ]
  %now = load atomic i64, ptr %at acquire, align 8
  %is_there = icmp sge i64 %now, %round
  br i1 %is_there, label %there, label %idle
idle:
  call void asm sideeffect "PAUSE", ""()
  %more = add i64 %spins, 1
  %long = icmp sgt i64 %more, SPINS
  br i1 %long, label %let, label %again
let:
  %ignored = call i32 @sched_yield()
  br label %again
again:
  br label %wait
there:
  %next = add i64 %other, 1
  %all = icmp sge i64 %next, %threads
  br i1 %all, label %done, label %each
done:
  %left = load atomic i64, ptr %left_at monotonic, align 8
  %leaves = icmp eq i64 %left, %round
  %result = zext i1 %leaves to i64
  ret i64 %result
}"""
