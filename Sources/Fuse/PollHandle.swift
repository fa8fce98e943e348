internal import CFuse3
internal import Glibc
internal import ThawCore

/// What the kernel is told by when a file that somebody polls becomes ready. It stays good for as long as the file is
/// open, for any number of notices; the latest one of a file does for all earlier ones. The last reference destroys
/// it. After the session has ended a notice does nothing.
///
// SAFETY: @unchecked because of the raw handle. It is ours alone from the callback that hands it over to the one
// `fuse_pollhandle_destroy` in deinit; `fuse_lowlevel_notify_poll` only reads it, and the session it points to, which
// `notify` keeps alive across the call.
package final class PollHandle: @unchecked Sendable {
    private let raw: OpaquePointer
    private let session: WeakReference<Session>

    /// Takes over `raw`.
    init(_ raw: OpaquePointer, session: WeakReference<Session>) {
        self.raw = raw
        self.session = session
    }

    deinit { fuse_pollhandle_destroy(raw) }

    /// Makes the kernel ask again for everybody who polls the file. Waits for nobody, and may be called from any
    /// thread that holds no lock. The corresponding C function is `fuse_lowlevel_notify_poll`.
    package func notify() {
        guard let session = session.value else { return }
        // A connection that has ended has woken everybody itself.
        withExtendedLifetime(session) { _ = fuse_lowlevel_notify_poll(raw) }
    }
}

/// What `poll(2)` shows of an open file.
package enum PollAnswer: Sendable {
    /// A read or write does something: what every regular file answers.
    case ready
    /// Nothing yet; a notice will follow.
    case waiting
    /// A read tells what is wrong.
    case failed

    var events: UInt32 {
        switch self {
        case .ready: UInt32(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)
        case .waiting: 0
        case .failed: UInt32(POLLIN | POLLRDNORM | POLLERR)
        }
    }
}
