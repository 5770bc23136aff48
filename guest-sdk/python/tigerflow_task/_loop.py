"""The event loop of an asynchronous component.

Each call that the host makes (`setup`, a `run`, `teardown`) is a task of the component
model, with waitables of its own: what it waits for. This loop runs the coroutines of a
call only in that call, so that the host knows which of them wrote a line or asked a
server. componentize-py has a loop for one call at a time; what asyncio needs beside that
is here:

- timers, by `wait-for` of the host's clock,
- waking a call from another one (a lock that is released, an event that is set), by a
  stream from the component to itself,
- what outlives its call (a background task, a time limit that was not reached): the
  other calls take it over.
"""

import asyncio
import bisect
import contextvars
import heapq
import itertools
import time
import types
from collections import deque

import componentize_py_async_support as support
import componentize_py_runtime as runtime
from tigerflow_wit import byte_stream
from tigerflow_wit.imports import monotonic_clock

_EXIT, _WAIT = 0, 2  # What a call answers to the host: that it is over, or waits.
_SUBTASK, _RETURNED = 1, 2  # An event of an imported function, and its last state.
_STREAM_READ, _FUTURE_READ = 2, 4  # Events of what is read.


class _Call:
    """One call of the host, and what it waits for."""

    __slots__ = (
        "waitable_set", "futures", "handles", "pending_count", "timers", "alarms", "ringing",
    )

    def __init__(self):
        self.waitable_set = None
        self.futures = {}  # waitable -> the future that its event resolves
        self.handles = deque()
        self.pending_count = 0  # componentize-py counts here what it spawns
        self.timers = []  # a heap of (time, number, handle)
        self.alarms = []  # (time, waitable) of when the host will wake this call, ascending
        self.ringing = False  # another call has woken this one already


class Loop(support._Loop):
    def __init__(self):
        super().__init__()
        self.current = None  # the call that runs
        self.calls = set()  # the calls in flight
        self.left = _Call()  # what calls left behind when none was in flight
        self.numbers = itertools.count()
        self.spare = []  # alarms of calls that are over: (time, waitable, watch), ascending
        self.bells = []  # streams to this component itself: (reader, writer)

    # What asyncio asks for.

    def time(self):
        return time.monotonic()

    def call_soon(self, callback, *args, context=None):
        context = context or contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        call = self._home(context)
        call.handles.append(handle)
        if call is not self.current:
            self._ring(call)
        return handle

    # There is one thread only.
    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        context = context or contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        handle._scheduled = True
        call = self._home(context)
        heapq.heappush(call.timers, (when, next(self.numbers), handle))
        if call is not self.current:
            self._ring(call)
        return handle

    def _timer_handle_cancelled(self, handle):
        pass  # It is dropped when its time comes.

    def create_task(self, coroutine, **options):
        return asyncio.Task(coroutine, loop=self, **options)

    def run_in_executor(self, executor, function, *args):
        """Runs it at once: there are no threads."""
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            future.set_exception(error)
        return future

    def get_task_factory(self):
        return None

    def get_exception_handler(self):
        return None

    def call_exception_handler(self, context):
        """A background task failed, and nobody asks for its result."""
        error = context.get("exception")
        message = context.get("message", "an error in a background task")
        import logging

        logging.getLogger("asyncio").error("%s", message, exc_info=error)

    # Calls of the host.

    def begin(self, export, borrows, coroutine):
        call = _Call()
        context = contextvars.Context()
        context.run(support._set_future_state, call)
        self.calls.add(call)
        self.current = call
        self._adopt(call, self.left)
        task = context.run(self.create_task, self._answer(export, borrows, coroutine), context=context)
        return self._turn(call, task)

    async def _answer(self, export, borrows, coroutine):
        try:
            result = support.Ok(await coroutine)
        except support.Err as error:
            result = error
        runtime.call_task_return(export, borrows, result)

    def resume(self, event, waitable, payload):
        call, task = runtime.context_get()
        runtime.context_set(None)
        self.current = call
        # An event without a future is that of a waitable which another call took over.
        if waitable and (event != _SUBTASK or payload == _RETURNED):
            runtime.waitable_join(waitable, 0)
            if event == _SUBTASK:
                runtime.subtask_drop(waitable)
            future = call.futures.pop(waitable)
            if not future.done():
                future.set_result(payload)
            if isinstance(future, _Abandoned):
                future.drop(event, waitable)
        return self._turn(call, task)

    def _turn(self, call, task):
        """Runs what is ready, and says what the host should do then."""
        handles = call.handles
        while True:
            self._ripen(call)
            if not handles and (task.done() or self._set_alarm(call)):
                break
            for _ in range(len(handles)):
                handle = handles.popleft()
                if not handle._cancelled:
                    handle._run()
        if task.done():
            self._end(call)
            task.result()  # A mistake of this package: nobody else would see it.
            return _EXIT
        self.current = None
        runtime.context_set((call, task))
        return _WAIT | (self._waitables(call) << 4)

    def _end(self, call):
        """Hands over what outlives the call."""
        self.calls.discard(call)
        for when, waitable in call.alarms:
            runtime.waitable_join(waitable, 0)
            bisect.insort(self.spare, (when, waitable, call.futures.pop(waitable)))
        self.current = None
        heir = next(iter(self.calls), self.left)
        self._adopt(heir, call)
        if heir is not self.left and (heir.handles or heir.timers):
            self._ring(heir)
        if call.waitable_set is not None:
            runtime.waitable_set_drop(call.waitable_set)
            call.waitable_set = None

    def _adopt(self, heir, call):
        for waitable, future in call.futures.items():
            runtime.waitable_join(waitable, 0 if heir is self.left else self._waitables(heir))
            heir.futures[waitable] = future
        call.futures = {}
        heir.handles.extend(call.handles)
        call.handles.clear()
        for timer in call.timers:
            if not timer[2]._cancelled:
                heapq.heappush(heir.timers, timer)
        call.timers = []

    def _home(self, context):
        """The call to which a context belongs; where it is over, one that goes on."""
        call = context.get(support._future_state)
        if call in self.calls:
            return call
        return self.current or next(iter(self.calls), self.left)

    # Timers.

    def _ripen(self, call):
        if call.timers:
            now = self.time()
            while call.timers and (call.timers[0][0] <= now or call.timers[0][2]._cancelled):
                handle = heapq.heappop(call.timers)[2]
                handle._scheduled = False
                if not handle._cancelled:
                    call.handles.append(handle)

    def _set_alarm(self, call):
        """Has the host wake the call when its next timer is due; false where it is due.

        A wait cannot be taken back: the time limit of a request goes on when the request is
        long over. So an alarm that comes too early is as good as a new one, its own or one
        that another call has left, and there are no more of them than calls at once.
        """
        if not call.timers:
            return True
        when = call.timers[0][0]
        if call.alarms and call.alarms[0][0] <= when:
            return True
        place = bisect.bisect_right(self.spare, (when, float("inf")))
        if place:
            due, waitable, watch = self.spare.pop(place - 1)
            call.futures[waitable] = watch
            runtime.waitable_join(waitable, self._waitables(call))
            bisect.insort(call.alarms, (due, waitable))
            return True
        delay = max(0, when - self.time())
        waiting = _begin(monotonic_clock.wait_for(int(delay * 1e9) + 1))
        if isinstance(waiting, support.Ok):
            return False
        waitable, promise = waiting.value
        alarm = (when, waitable)
        bisect.insort(call.alarms, alarm)
        self._watch(call, waitable, promise, lambda heir: heir.alarms.remove(alarm))
        return True

    def _watch(self, call, waitable, promise, then):
        future = _Watch(self, promise, then)
        call.futures[waitable] = future
        runtime.waitable_join(waitable, self._waitables(call))

    @staticmethod
    def _waitables(call):
        if call.waitable_set is None:
            call.waitable_set = runtime.waitable_set_new()
        return call.waitable_set

    # Waking one call from another.

    def _ring(self, call):
        if call.ringing or call is self.left:
            return
        call.ringing = True
        bell = self.bells.pop() if self.bells else _new_bell()
        kind, reader, writer = bell
        waitable, promise = runtime.stream_read(kind, reader, 1).value

        def rung(heir):
            call.ringing = False
            self.bells.append(bell)

        self._watch(call, waitable, promise, rung)
        runtime.stream_write(kind, writer, b"!")


class _Watch:
    """In the place of a future: an event that only wakes its call."""

    __slots__ = ("loop", "promise", "then")

    def __init__(self, loop, promise, then):
        self.loop, self.promise, self.then = loop, promise, then

    def done(self):
        return False

    def set_result(self, payload):
        runtime.promise_get_result(payload, self.promise)
        self.then(self.loop.current)


@types.coroutine
def _hand_over(result):
    yield result


def _begin(coroutine):
    """Calls an imported function and does not wait: its waitable and promise are in `Err`."""
    await_result, support.await_result = support.await_result, _hand_over
    try:
        result = coroutine.send(None)
    finally:
        support.await_result = await_result
    coroutine.close()
    return result


class _Abandoned(_Watch):
    """In the place of a future that was cancelled: its result is taken, and thrown away."""

    __slots__ = ()

    def drop(self, event, waitable):
        # What was read has the number 0 of its kind: the body of an answer, and its trailers.
        if event == _STREAM_READ:
            runtime.stream_drop_readable(0, waitable)
        elif event == _FUTURE_READ:
            runtime.future_drop_readable(0, waitable)


async def _await_result(result):
    """Waits for an imported function, or for what is read or written."""
    if isinstance(result, support.Ok):
        return result.value
    waitable, promise = result.value
    loop = support._loop
    future = loop.create_future()
    loop.current.futures[waitable] = future
    runtime.waitable_join(waitable, loop._waitables(loop.current))
    try:
        payload = await future
    except asyncio.CancelledError:
        for call in (*loop.calls, loop.left):
            if call.futures.get(waitable) is future:
                call.futures[waitable] = _Abandoned(loop, promise, lambda _: None)
        raise
    return runtime.promise_get_result(payload, promise)


def _new_bell():
    writer, reader = byte_stream()
    writer.finalizer.detach()
    reader.finalizer.detach()
    return reader.type_, reader.handle, writer.handle


def install():
    """Puts this loop in the place of componentize-py's own."""
    loop = Loop()
    loop.running = True
    support._loop = loop
    support.first_poll = loop.begin
    support.callback = loop.resume
    support.await_result = _await_result
    asyncio.set_event_loop(loop)
    asyncio.events._set_running_loop(loop)
