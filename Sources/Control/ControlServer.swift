internal import Glibc
package import Logging
internal import Synchronization
internal import ThawCore

/// The daemon's end of the control socket: accepts, and moves lines, on one thread that waits for nobody.
///
/// The socket exists from the initializer to `stop`. Each peer is served by a task of its own; at most `peersMax` are
/// served at once, and further ones wait in the kernel's queue. A peer that neither sends nor takes anything for
/// `idle` while it is its turn is dropped.
package final class ControlServer: Sendable {
    package struct Limits: Sendable {
        package var peersMax = 32
        package var lineBytesMax = 65_536
        package var idle = Duration.seconds(30)

        package init() {}
    }

    private let socket: ControlSocket
    private let listener: Listener
    private let thread: Thread

    /// Replaces what an earlier daemon left at the same place: the caller holds the directory's lock.
    package init(
        at socket: ControlSocket, limits: Limits = Limits(), log: Logger,
        serve: @escaping @Sendable (ControlPeer) async -> Void
    ) throws(ControlError) {
        self.socket = socket
        let descriptor = try socket.listen(backlog: 128)
        do throws(Thread.Failure) {
            let listener = try Listener(descriptor: descriptor, limits: limits, log: log, serve: serve)
            thread = try Thread(name: "control") { listener.run() }
            self.listener = listener
        } catch {
            close(descriptor)
            socket.remove()
            throw .thread(errno: error.errno)
        }
    }

    /// Removes the socket, and ends every connection. Once only.
    package func stop() {
        socket.remove()
        listener.stop()
        thread.join()
    }
}

/// What the thread `control` runs.
private final class Listener: Sendable {
    private let descriptor: Int32
    private let limits: ControlServer.Limits
    private let log: Logger
    private let serve: @Sendable (ControlPeer) async -> Void
    private let wakeup: Wakeup
    private let isStopping = Mutex(false)
    /// The error that the log has been told of, until somebody is accepted again.
    private let reported = Mutex<Int32?>(nil)

    init(
        descriptor: Int32, limits: ControlServer.Limits, log: Logger,
        serve: @escaping @Sendable (ControlPeer) async -> Void
    ) throws(Thread.Failure) {
        self.descriptor = descriptor
        self.limits = limits
        self.log = log
        self.serve = serve
        wakeup = try Wakeup()
    }

    func stop() {
        isStopping.withLock { $0 = true }
        wakeup.signal()
    }

    func run() {
        var peers: [ControlPeer] = []
        while !isStopping.withLock({ $0 }) {
            wait(for: peers)
            if peers.count < limits.peersMax, let peer = accept() { peers.append(peer) }
            for peer in peers {
                peer.move()
                if let deadline = peer.deadline(limits.idle), deadline <= .now { peer.end() }
            }
            peers.removeAll(where: \.isDone)
        }
        close(descriptor)
        for peer in peers { peer.end() }
    }

    /// Until something can be read, written or accepted, or a peer's time is over.
    private func wait(for peers: [ControlPeer]) {
        var polled = peers.compactMap(\.interest)
        polled.append(pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0))
        if peers.count < limits.peersMax {
            polled.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        }
        let deadline = peers.compactMap { $0.deadline(limits.idle) }.min()
        let left = deadline.map { max(ContinuousClock.now.duration(to: $0), .zero) / Duration.milliseconds(1) }
        poll(&polled, nfds_t(polled.count), left.map { Int32($0.rounded(.up)) } ?? -1)
        wakeup.drain()
    }

    private func accept() -> ControlPeer? {
        let connection = Glibc.accept(descriptor, nil, nil)
        guard connection >= 0 else {
            let code = errno
            if code != EAGAIN, code != EINTR, code != ECONNABORTED {
                let isNews = reported.withLock { reported in
                    defer { reported = code }
                    return reported != code
                }
                if isNews { log.warning("the control socket accepts nobody: \(errorText(code))") }
                // Out of descriptors: the one that waits stays there, and would be told of again at once.
                wakeup.wait(timeoutMilliseconds: 1000)
            }
            return nil
        }
        reported.withLock { $0 = nil }
        _ = fcntl(connection, F_SETFL, O_NONBLOCK)
        _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
        let peer = ControlPeer(descriptor: connection, lineBytesMax: limits.lineBytesMax, wakeup: wakeup)
        Task { [serve] in
            await serve(peer)
            peer.finish()
        }
        return peer
    }
}
