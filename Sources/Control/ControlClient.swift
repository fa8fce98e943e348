internal import Glibc
package import ThawCore

/// A command's end of the control socket. It waits for as long as the daemon gives signs of life: not longer than
/// `timeout` for the next one.
package struct ControlClient: ~Copyable {
    private let descriptor: Int32
    private let timeout: Duration
    private var output: [UInt8] = []
    /// The daemon takes nothing more; before it closed the connection it said why.
    private var isRefused = false
    private var input = LineBuffer(bytesMax: Self.answerBytesMax)
    private var answers: ArraySlice<JSON> = []
    private static let pieceBytes = 65_536
    /// Room for the names of a hundred thousand objects that are not there, or as many waiters.
    private static let answerBytesMax = 64 << 20

    /// - Parameter isTrusted: whether this user may be the one who answers
    package init(
        connectingTo socket: ControlSocket, timeout: Duration, isTrusted: (UInt32) -> Bool
    ) throws(ControlError) {
        self.timeout = timeout
        descriptor = try socket.connect(timeout: timeout, isTrusted: isTrusted)
    }

    deinit { close(descriptor) }

    /// Sends a line of a command, sooner or later: `receive` sends what is left.
    package mutating func send(_ json: JSON) throws(ControlError) {
        output += Array((json.text + "\n").utf8)
        if output.count >= Self.pieceBytes { try flush() }
    }

    /// The answer to what was sent. An answer of `{"error": TEXT}` is thrown as `refused`; a line of
    /// `{"working": true}` is none yet, and begins the timeout anew.
    package mutating func receive() throws(ControlError) -> JSON {
        try flush()
        while true {
            if let answer = answers.popFirst() {
                if let text = answer["error"]?.string { throw .refused(text) }
                return answer
            }
            _ = try wait(for: POLLIN)
            guard try take() else { throw .ended }
        }
    }

    /// A daemon at work on what it has does not take more, but says that it works; that is listened to meanwhile.
    private mutating func flush() throws(ControlError) {
        var rest = output[...]
        output = []
        while !rest.isEmpty, !isRefused {
            let count = rest.withUnsafeBytes { bytes in
                Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count >= 0 {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EPIPE, ECONNRESET: isRefused = true
            case EAGAIN:
                let events = try wait(for: POLLIN | POLLOUT)
                // An answer before everything was sent is a refusal.
                if events & POLLIN != 0 { isRefused = try !take() || !answers.isEmpty }
            default: throw Self.failure(errno)
            }
        }
    }

    /// What of this has come true.
    private func wait(for events: Int32) throws(ControlError) -> Int32 {
        let deadline = ContinuousClock.now + timeout
        while true {
            var polled = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let left = max(ContinuousClock.now.duration(to: deadline), .zero) / Duration.milliseconds(1)
            let count = poll(&polled, 1, Int32(min(left.rounded(.up), Double(Int32.max))))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failure(errno) }
            guard count > 0 else { throw .noAnswer }
            let found = Int32(polled.revents)
            // The end is something to be read.
            return found & (POLLHUP | POLLERR) == 0 ? found : POLLIN
        }
    }

    /// Takes what has come, and keeps the answers; false at the end.
    private mutating func take() throws(ControlError) -> Bool {
        var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
        let count = recv(descriptor, &piece, piece.count, Int32(MSG_DONTWAIT))
        guard count > 0 else {
            if count == 0 || errno == ECONNRESET { return false }
            if errno == EINTR || errno == EAGAIN { return true }
            throw Self.failure(errno)
        }
        for line in try input.append(piece[..<count]) {
            guard let json = JSON(line) else { throw .nonsense(String(decoding: line.prefix(100), as: UTF8.self)) }
            if json["working"] == nil { answers.append(json) }
        }
        return true
    }

    private static func failure(_ code: Int32) -> ControlError { .socket(path: ControlSocket.name, errno: code) }
}
