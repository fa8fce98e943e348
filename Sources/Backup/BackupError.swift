internal import HTTP
internal import ThawCore

/// What Cloud Backup answered instead of what was asked, or why it did not answer.
package struct BackupError: Error, Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// There is no such vault, snapshot, job or bucket.
        case notFound
        /// It is about who we are, or what the account has paid: key, signature, token, role, debt.
        case denied
        /// The request will never succeed as it is.
        case invalid
        /// The clocks differ by more than the service allows.
        case clockSkew
        /// `Throttling` and its kin.
        case throttled
        /// 5xx, no connection, or one that broke.
        case unavailable
        case timeout
        /// A reply that makes no sense.
        case nonsense
        /// The task was cancelled.
        case cancelled
    }

    package var kind: Kind
    /// 0 when there was no reply.
    package var status: Int
    /// The service's own code (`VaultNotExist`), or our word for a failed exchange.
    package var code: String
    package var message: String
    package var requestID: String?
    /// The request was sent, and no reply says that it was refused: what it asked for may have been done.
    package var mayHaveBeenDone: Bool

    package init(
        _ kind: Kind, status: Int = 0, code: String, message: String, requestID: String? = nil,
        mayHaveBeenDone: Bool = false
    ) {
        self.kind = kind
        self.status = status
        self.code = code
        self.message = message
        self.requestID = requestID
        self.mayHaveBeenDone = mayHaveBeenDone
    }

    /// Whether the same may succeed when it is asked a little later.
    package var isTransient: Bool {
        switch kind {
        case .throttled, .unavailable, .timeout, .nonsense: true
        default: false
        }
    }
}

extension BackupError: CustomStringConvertible {
    /// For logs: the service's code and message, status and request id.
    package var description: String {
        var text = "\(code): \(message.printable)"
        if status != 0 { text += " (HTTP \(status)" + (requestID.map { ", request id \($0.printable)" } ?? "") + ")" }
        return text
    }
}

extension BackupError {
    static let cancelled = BackupError(
        .cancelled, code: "Cancelled", message: "the request was cancelled", mayHaveBeenDone: true)

    static func nonsense(_ message: String, status: Int = 0, requestID: String? = nil) -> BackupError {
        BackupError(
            .nonsense, status: status, code: "Nonsense", message: message, requestID: requestID, mayHaveBeenDone: true)
    }

    /// An exchange that ended without a reply.
    init(_ error: HTTPError) {
        switch error {
        case .connect(let words): self.init(.unavailable, code: "ConnectionFailed", message: words)
        case .tls(let words): self.init(.denied, code: "TLSFailed", message: words)
        case .timeout(let words):
            self.init(.timeout, code: "TimedOut", message: words, mayHaveBeenDone: true)
        case .broken(let words):
            self.init(.unavailable, code: "ConnectionBroken", message: words, mayHaveBeenDone: true)
        case .rejected: self = .nonsense("the reply is larger than any such reply is")
        case .unreadable(let words), .malformedRequest(let words):
            self.init(.invalid, code: "MalformedRequest", message: words)
        case .cancelled: self = .cancelled
        }
    }

    /// A refusal: `{"Code", "Message", "RequestId"}` with a status of its own, or with `"Success": false` and 200.
    init(_ document: JSON?, status: Int) {
        let code = document?["Code"]?.string ?? "HTTP\(status)"
        let kind = Kind(code: code, status: status)
        self.init(
            kind, status: status, code: code,
            message: document?["Message"]?.string ?? "the service answered with status \(status)",
            requestID: document?["RequestId"]?.string,
            // Whoever is on the way may send a request again whose connection was closed: the first one did it then.
            mayHaveBeenDone: kind == .unavailable || code == Self.nonceUsed)
    }

    private static let nonceUsed = "SignatureNonceUsed"
}

extension BackupError.Kind {
    /// By the service's code where it is known, else by the status. The gateway's codes are those of all RPC products.
    init(code: String, status: Int) {
        switch code {
        case "VaultNotExist", "ResourceNotFound", "ObjectNotExist", "RoleNotExist", "TaskNotFound": self = .notFound
        case "NoPermission", "ServiceNotActivated", "InDebt", "InDebtOverdue", "RiskControlProhibited",
            "AssumeRoleFail", "SignatureDoesNotMatch", "InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive",
            "InvalidSecurityToken.Expired", "InvalidSecurityToken.Malformed":
            self = .denied
        case "InvalidTimeStamp.Expired": self = .clockSkew
        case "SignatureNonceUsed": self = .unavailable
        case _ where code == "Throttling" || code.hasPrefix("Throttling."): self = .throttled
        default:
            switch status {
            case 401, 403: self = .denied
            case 404: self = .notFound
            case 408: self = .timeout
            case 429: self = .throttled
            case 500...599: self = .unavailable
            case 200, 300...499: self = .invalid
            default: self = .nonsense
            }
        }
    }
}
