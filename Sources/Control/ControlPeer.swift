internal import Glibc
internal import Synchronization
internal import ThawCore

/// Whoever is connected to a `ControlServer`, as the code that serves them sees it: lines in, lines out.
///
/// The socket is the server's thread's alone; here are the two queues between that thread and the serving task. What
/// comes in waits at the socket while the task has lines to work on, and a line that goes out is waited for, so a peer
/// costs no more memory than a piece and a reply.
package final class ControlPeer: Sendable {
    private struct State {
        var descriptor: Int32
        var buffer: LineBuffer
        var lines: ArraySlice<[UInt8]> = []
        var fault: ControlError?
        var reader: CheckedContinuation<Void, Never>?
        var output: ArraySlice<UInt8> = []
        var writer: CheckedContinuation<Void, Never>?
        /// Nothing more comes in; what has come is still delivered.
        var hasEnded = false
        /// The serving task is done.
        var isServed = false
        var lastMove = ContinuousClock.now

        var isOpen: Bool { descriptor >= 0 }
    }

    private let state: Mutex<State>
    private let wakeup: Wakeup
    private static let pieceBytes = 65_536

    init(descriptor: Int32, lineBytesMax: Int, wakeup: Wakeup) {
        state = Mutex(State(descriptor: descriptor, buffer: LineBuffer(bytesMax: lineBytesMax)))
        self.wakeup = wakeup
    }

    // MARK: The serving task

    /// The next line, without its end; nil when the peer has nothing more to say, or took too long to say it.
    package func nextLine() async throws(ControlError) -> [UInt8]? {
        while true {
            let (line, fault, isOver, wasLast) = state.withLock { state in
                let line = state.lines.popFirst()
                return (line, state.fault, state.hasEnded, line != nil && state.lines.isEmpty)
            }
            if wasLast { wakeup.signal() }
            if let line { return line }
            if let fault { throw fault }
            if isOver { return nil }
            await withCheckedContinuation { continuation in
                let isIdle = state.withLock { state in
                    guard state.lines.isEmpty, !state.hasEnded else { return false }
                    state.reader = continuation
                    state.lastMove = .now
                    return true
                }
                if isIdle { wakeup.signal() } else { continuation.resume() }
            }
        }
    }

    /// Sends a line, and returns when the system has taken all of it, or the peer is gone.
    package func send(_ line: String) async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                guard state.isOpen else { return false }
                state.output = Array((line + "\n").utf8)[...]
                state.writer = continuation
                state.lastMove = .now
                return true
            }
            if isOpen { wakeup.signal() } else { continuation.resume() }
        }
    }

    func finish() {
        state.withLock { $0.isServed = true }
        wakeup.signal()
    }

    // MARK: The server's thread

    /// Whether nothing is left to do for this peer.
    var isDone: Bool { state.withLock { $0.isServed && !$0.isOpen } }

    /// What to wait for at the socket; nil when nothing.
    var interest: pollfd? {
        state.withLock { state in
            guard state.isOpen else { return nil }
            var events: Int32 = 0
            if state.lines.isEmpty, !state.hasEnded { events |= POLLIN }
            if !state.output.isEmpty { events |= POLLOUT }
            // A peer that has gone is told of without being asked for, again and again.
            return events == 0 ? nil : pollfd(fd: state.descriptor, events: Int16(events), revents: 0)
        }
    }

    /// When a peer that does not move has to go; nil while it is not its turn.
    func deadline(_ idle: Duration) -> ContinuousClock.Instant? {
        state.withLock { state in
            guard state.isOpen, state.reader != nil || state.writer != nil else { return nil }
            return state.lastMove + idle
        }
    }

    func move() {
        receive()
        transmit()
        if state.withLock({ $0.isServed && $0.output.isEmpty }) { end() }
    }

    private func receive() {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.isOpen, state.lines.isEmpty, !state.hasEnded else { return nil }
            var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
            let count = recv(state.descriptor, &piece, piece.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { return nil }
            if count <= 0 {
                state.hasEnded = true
            } else {
                state.lastMove = .now
                do throws(ControlError) {
                    state.lines = try state.buffer.append(piece[..<count])[...]
                } catch {
                    state.fault = error
                    state.hasEnded = true
                }
            }
            if state.lines.isEmpty, !state.hasEnded { return nil }
            return state.reader.take()
        }
        reader?.resume()
    }

    private func transmit() {
        let (writer, isBroken) = state.withLock { state -> (CheckedContinuation<Void, Never>?, Bool) in
            guard state.isOpen, !state.output.isEmpty else { return (nil, false) }
            let count = state.output.withUnsafeBytes { bytes in
                Glibc.send(state.descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 { return (nil, errno != EAGAIN && errno != EINTR) }
            state.lastMove = .now
            state.output = state.output.dropFirst(count)
            return (state.output.isEmpty ? state.writer.take() : nil, false)
        }
        writer?.resume()
        if isBroken { end() }
    }

    /// Closes the connection. The serving task reads its end, and its answers go nowhere.
    func end() {
        let waiting = state.withLock { state in
            if state.isOpen { close(state.descriptor) }
            state.descriptor = -1
            state.hasEnded = true
            state.output = []
            return [state.reader.take(), state.writer.take()]
        }
        for continuation in waiting { continuation?.resume() }
    }
}
