internal import ThawCore

/// Why a daemon was not heard, or a socket not made.
package enum ControlError: Error, Sendable, Equatable {
    /// There is no socket, or nobody listens on it.
    case notListening(path: String)
    /// The socket is somebody else's.
    case denied(path: String)
    /// It is served by a user who has nothing to do with the mount.
    case untrusted(path: String, uid: UInt32)
    /// Nothing came, or nothing was taken, in the time that was given.
    case noAnswer
    /// The other end closed the connection in the middle.
    case ended
    /// The daemon's own words for why it does not do what it was asked.
    case refused(String)
    /// What came is no JSON, or not what was asked for.
    case nonsense(String)
    case lineTooLong(bytesMax: Int)
    case socket(path: String, errno: Int32)
    case thread(errno: Int32)
}

extension ControlError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notListening(let path): "no daemon listens on \(path)"
        case .denied(let path): "\(path) is for its owner only"
        case .untrusted(let path, let uid): "\(path) is served by uid \(uid), who is neither root nor the mount's owner"
        case .noAnswer: "the daemon does not answer; its log may say why"
        case .ended: "the daemon closed the connection"
        case .refused(let text): text
        case .nonsense(let text): "the daemon answered what this version does not understand: \(text)"
        case .lineTooLong(let bytesMax): "a line is longer than \(bytesMax) bytes"
        case .socket(let path, let code): "\(path): \(errorText(code))"
        case .thread(let code): "no thread: \(errorText(code))"
        }
    }
}
