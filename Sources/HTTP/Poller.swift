internal import CThaw
internal import Glibc
internal import ThawCore

/// What a descriptor is ready for.
struct Readiness: OptionSet {
    let rawValue: UInt32
    static let readable = Readiness(rawValue: EPOLLIN.rawValue)
    static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
    static let failed = Readiness(rawValue: EPOLLERR.rawValue | EPOLLHUP.rawValue)
}

/// The descriptors a loop waits on, over epoll. Confined to the loop's thread.
final class Poller {
    private let descriptor: Int32
    private var events = [epoll_event](repeating: epoll_event(), count: 128)

    init() throws(HTTPError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw .connect("epoll_create1: \(errorText(errno))") }
    }

    deinit { close(descriptor) }

    /// Level-triggered. `isWatched` says whether the descriptor is watched already, for something else.
    func watch(_ watched: Int32, for readiness: Readiness, isWatched: Bool = false) {
        var event = epoll_event()
        event.events = readiness.rawValue
        event.data.fd = watched
        let code = epoll_ctl(descriptor, isWatched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, watched, &event)
        precondition(code == 0, "epoll_ctl of descriptor \(watched): errno \(errno)")
    }

    /// For a descriptor about to be closed.
    func ignore(_ watched: Int32) {
        // A descriptor that is closed already has left the set by itself.
        _ = epoll_ctl(descriptor, EPOLL_CTL_DEL, watched, nil)
    }

    /// Waits until a descriptor is ready or `timeoutMilliseconds` have passed (-1: for ever), then calls `body` for
    /// each ready one.
    func wait(timeoutMilliseconds: Int32, _ body: (Int32, Readiness) -> Void) {
        let count = epoll_wait(descriptor, &events, Int32(events.count), timeoutMilliseconds)
        if count < 0 {
            precondition(errno == EINTR, "epoll_wait: errno \(errno)")
            return
        }
        for index in 0..<Int(count) {
            body(events[index].data.fd, Readiness(rawValue: events[index].events))
        }
    }
}
