package import Filesystem
package import Fuse
package import Logging
internal import Synchronization
internal import ThawCore

/// A filesystem that the kernel sees: the session, its threads, and how they end.
package final class MountedFilesystem: Sendable {
    private let session: Session
    private let dispatcher: Dispatcher
    private let log: Logger
    private let ended: AsyncStream<Void>
    private let kernelCache: KernelCache

    /// Mounts. Nothing is answered before `serve`. `onInitialized` runs once the mount is usable.
    package init(
        _ filesystem: Filesystem, mountpoint: String, options: [String], ownership: Ownership, readers: Int,
        log: Logger, onInitialized: @escaping @Sendable () -> Void, onEnded: @escaping @Sendable () -> Void
    ) throws(MountError) {
        self.log = log
        let notices: NoticeQueue
        do throws(Thread.Failure) {
            dispatcher = try Dispatcher(
                filesystem: filesystem, ownership: ownership, log: log, onInitialized: onInitialized)
            notices = try NoticeQueue()
        } catch {
            throw .thread(errno: error.errno)
        }
        do throws(SessionError) {
            session = try Session(mountpoint: mountpoint, options: options, operations: dispatcher)
        } catch {
            throw .session(error)
        }
        kernelCache = KernelCache(
            // Of attributes alone the kernel forgets without waiting for anybody.
            forgetAttributes: { [session] in session.invalidate(inode: $0, pages: false) },
            forgetContent: { [session] inode in notices.add { session.invalidate(inode: inode, pages: true) } },
            forgetName: { [session] parent, name in notices.add { session.invalidate(parent: parent, name: name) } },
            waitUntilTold: { await withCheckedContinuation { told in notices.add { told.resume() } } })
        filesystem.kernelCache.value = kernelCache
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        self.ended = ended
        do throws(Thread.Failure) {
            _ = try Thread(name: "interrupts") { [dispatcher] in dispatcher.inFlight.watchInterrupts() }
            _ = try Thread(name: "session") { [session, log] in
                do throws(SessionError) { try session.run(readers: readers) } catch {
                    log.critical("the mount cannot be served: \(error)")
                }
                end.finish()
                onEnded()
            }
        } catch {
            session.unmount()
            throw .thread(errno: error.errno)
        }
    }

    /// Returns once the mount is gone, by whatever way, and every request has been read.
    package func waitUntilUnmounted() async {
        for await _ in ended {}
        dispatcher.inFlight.enter(.closed)
    }

    /// Takes the mount off the tree and ends everybody's waiting. Files that are open stay readable as far as they need
    /// nothing asked, and writable, until their programs close them or the process ends.
    package func unmount() {
        session.unmount()
        dispatcher.inFlight.enter(.draining)
        dispatcher.filesystem.endPolling()
    }

}

/// Runs what must wait for requests of others, such as forgetting a name (the kernel takes the directory's lock), on a
/// thread that serves none.
private final class NoticeQueue: Sendable {
    private let pending = Mutex<[@Sendable () -> Void]>([])
    private let wakeup: Wakeup

    init() throws(Thread.Failure) {
        wakeup = try Wakeup()
        _ = try Thread(name: "notices") { [self] in
            while true {
                wakeup.wait()
                let batch = pending.withLock { pending in
                    defer { pending = [] }
                    return pending
                }
                for notice in batch { notice() }
            }
        }
    }

    func add(_ notice: @escaping @Sendable () -> Void) {
        pending.withLock { $0.append(notice) }
        wakeup.signal()
    }
}

package enum MountError: Error, Sendable, Equatable {
    case session(SessionError)
    case thread(errno: Int32)
}

extension MountError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .session(.options): "libfuse does not take the options"
        case .session(.mount(let code)): code == 0 ? "libfuse has said why" : errorText(code)
        case .session(.thread(let code)), .thread(let code): "no thread: \(errorText(code))"
        }
    }
}
