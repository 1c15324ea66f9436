"""The small compiled loop that runs a program: a flat table of kernel calls, shared by the threads that take part.

An entry of the table is three numbers: the kernel, its arguments, and flags. Bit 0: the threads share the kernel's
work; else the first thread does it. Bit 1: all threads wait for each other before it. Bit 2: the step may be left
before it, if somebody has asked for that. Threads leave together: who comes last to a meeting decides for all.
"""

from __future__ import annotations

import platform

from undertow.compile.ir import Emitter, Module

SHARED, WAIT, MAY_LEAVE = 1, 2, 4
ENTRY = 3
MEETING = 256  # bytes of a meeting place: who is there, the round, what was decided, and whether to stop
DECIDED, STOP = 128, 192  # where the last two lie
SPINS = 5000  # rounds of waiting before a thread lets others have the processor


def write_driver(module: Module) -> None:
    """Write ``run(table, n, thread, threads, meeting, steps)`` and the place where threads meet.

    It returns how many steps were done: all, unless the number at ``STOP`` of the meeting place became another than 0.

    Args:
        module: where it goes.
    """
    pause = {"x86_64": "pause", "AMD64": "pause", "aarch64": "yield", "arm64": "yield"}.get(platform.machine(), "")
    meeting = _MEETING.replace("PAUSE", pause).replace("SPINS", str(SPINS))
    module.functions.append(meeting.replace("DECIDED", str(DECIDED)).replace("STOP", str(STOP)))
    module.declarations["yield"] = "declare i32 @sched_yield()"
    e = Emitter(
        module,
        "run",
        [("table", "ptr"), ("n", "i64"), ("thread", "i64"), ("threads", "i64"), ("meeting", "ptr"), ("steps", "i64")],
        result="i64",
    )
    thread, threads = e.args["thread"], e.args["threads"]
    several = threads > 1
    asked = e.address(e.args["meeting"], e.select(several, e.const(DECIDED, "i64"), STOP), "i8")
    done = e.variable(e.const(0, "i64"))
    with e.loop(0, e.args["steps"]) as step:
        with e.loop(0, e.args["n"]) as i:
            entry = e.address(e.args["table"], i * ENTRY, "i64")
            function, args = e.load(entry, "ptr"), e.load(e.address(entry, 1, "i64"), "ptr")
            flags = e.load(e.address(entry, 2, "i64"), "i64")
            waits = (flags & WAIT) != 0
            with e.when(waits & several):
                e.line(f"call void @meet(ptr {e.args['meeting'].text}, i64 {threads.text})")
            with e.when(((flags & MAY_LEAVE) != 0) & (waits | ~several)):
                stop = e.instruction(f"load atomic i64, ptr {asked.text} monotonic, align 8", "i64", 0)
                with e.when(stop != 0):
                    e.line("br label %leave")
                    e.label(e.fresh("never"))
            shared = (flags & SHARED) != 0
            with e.when(shared):
                e.line(f"call void {function.text}(ptr {args.text}, i64 {thread.text}, i64 {threads.text})")
            with e.when(~shared & (thread == 0)):
                e.line(f"call void {function.text}(ptr {args.text}, i64 0, i64 1)")
        done.set(step + 1)
    e.line("br label %leave")
    e.label("leave")
    with e.when(several):
        e.line(f"call void @meet(ptr {e.args['meeting'].text}, i64 {threads.text})")
    e.finish(done.get())


_MEETING = """define internal void @meet(ptr %place, i64 %threads) nounwind noinline {
entry:
  %round_at = getelementptr i8, ptr %place, i64 64
  %round = load atomic i64, ptr %round_at acquire, align 8
  %before = atomicrmw add ptr %place, i64 1 acq_rel
  %others = sub i64 %threads, 1
  %last = icmp eq i64 %before, %others
  br i1 %last, label %open, label %wait
open:
  %stop_at = getelementptr i8, ptr %place, i64 STOP
  %stop = load atomic i64, ptr %stop_at monotonic, align 8
  %decided_at = getelementptr i8, ptr %place, i64 DECIDED
  store atomic i64 %stop, ptr %decided_at monotonic, align 8
  store atomic i64 0, ptr %place monotonic, align 8
  %next = add i64 %round, 1
  store atomic i64 %next, ptr %round_at release, align 8
  br label %done
wait:
  %spins = phi i64 [ 0, %entry ], [ %more, %again ]
  %now = load atomic i64, ptr %round_at acquire, align 8
  %same = icmp eq i64 %now, %round
  br i1 %same, label %idle, label %done
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
done:
  ret void
}"""
