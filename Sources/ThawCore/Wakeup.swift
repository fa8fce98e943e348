internal import CThaw
internal import Glibc

/// A thread's doorbell: any thread rings, one waits. Rings while nobody waits are remembered as one.
package final class Wakeup: Sendable {
    /// Readable once it has rung, for threads that wait for other things besides; then `drain`.
    package let descriptor: Int32

    package init() throws(Thread.Failure) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard descriptor >= 0 else { throw Thread.Failure(errno: errno) }
    }

    deinit { close(descriptor) }

    package func signal() {
        var one: UInt64 = 1
        while write(descriptor, &one, 8) == -1 && errno == EINTR {}
    }

    /// Waits for a ring, or so many milliseconds; -1 waits for ever.
    package func wait(timeoutMilliseconds: Int32 = -1) {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&poller, 1, timeoutMilliseconds) == -1 && errno == EINTR {}
        drain()
    }

    /// Forgets the rings so far.
    package func drain() {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
    }
}
