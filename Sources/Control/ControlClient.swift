internal import Glibc
package import ThawCore

/// A command's end of the control socket. Every call waits, `timeout` at the most.
package struct ControlClient: ~Copyable {
    private let descriptor: Int32
    private var output: [UInt8] = []
    /// The daemon takes nothing more; before it closed the connection it said why.
    private var isRefused = false
    /// An answer may be as long as there are waiters and requests to tell of.
    private var input = LineBuffer(bytesMax: 1 << 30)
    private var lines: ArraySlice<[UInt8]> = []
    private static let pieceBytes = 65_536

    package init(connectingTo socket: ControlSocket, timeout: Duration) throws(ControlError) {
        descriptor = try socket.connect(timeout: timeout)
    }

    deinit { close(descriptor) }

    /// Sends a line, sooner or later: `receive` sends what is left.
    package mutating func send(_ json: JSON) throws(ControlError) {
        output += Array((json.text + "\n").utf8)
        if output.count >= Self.pieceBytes { try flush() }
    }

    /// The answer to what was sent. An answer of `{"error": TEXT}` is thrown as `refused`; a line of
    /// `{"working": true}` is none yet, and begins the timeout anew.
    package mutating func receive() throws(ControlError) -> JSON {
        try flush()
        while true {
            if let line = lines.popFirst() {
                let answer = try Self.answer(line)
                if answer["working"] == nil { return answer }
                continue
            }
            var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
            let count = recv(descriptor, &piece, piece.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw count == 0 ? .ended : Self.failure(errno) }
            lines = try input.append(piece[..<count])[...]
        }
    }

    private mutating func flush() throws(ControlError) {
        var rest = output[...]
        output = []
        while !rest.isEmpty, !isRefused {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EPIPE || errno == ECONNRESET {
                isRefused = true
                break
            }
            guard count >= 0 else { throw Self.failure(errno) }
            rest = rest.dropFirst(count)
        }
    }

    private static func answer(_ line: [UInt8]) throws(ControlError) -> JSON {
        guard let json = JSON(line) else { throw .nonsense(String(decoding: line.prefix(100), as: UTF8.self)) }
        if let text = json["error"]?.string { throw .refused(text) }
        return json
    }

    private static func failure(_ code: Int32) -> ControlError {
        switch code {
        case EAGAIN: .noAnswer
        case ECONNRESET: .ended
        default: .socket(path: ControlSocket.name, errno: code)
        }
    }
}
