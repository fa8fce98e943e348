package import HTTP
import ThawCore
import Wire

/// A reply that is not what was asked for: the error, and the hints it holds for another attempt.
struct Refusal: Error {
    var error: StoreError
    /// S3: where the bucket is instead.
    var region: String?
    /// The store's clock, when it says that ours is off.
    var serverTime: Timestamp?
}

extension Refusal {
    /// Reads a reply whose status is not the expected one. A body that is no error document, such as a
    /// proxy's page, leaves the status to speak.
    ///
    /// - Parameter now: for a `Retry-After` that is a date
    init(_ response: HTTPResponse, _ dialect: any BucketDialect, now: Timestamp) {
        let head = response.head
        // HEAD has no body: OSS puts the document into a header.
        let body = response.body.isEmpty ? head["x-oss-err"].flatMap { Base64.decode($0) } : response.body
        let document = body.flatMap(ErrorDocument.init)
        let code = document?.code ?? "HTTP\(response.status)"
        var message = document?.message ?? "the store answered with status \(response.status)"
        // IBM's host of backup policies has errors of a form of its own.
        if document == nil, let body, head["content-type"]?.contains("json") ?? false {
            message += ": " + String(decoding: body.prefix(500), as: UTF8.self).printable
        }
        // Of a bucket that is elsewhere: OSS's AccessDenied, S3's PermanentRedirect.
        if let endpoint = document?.endpoint { message += " The bucket's endpoint is \(endpoint)." }
        error = StoreError(
            StoreError.Kind(code: code, status: response.status, message: message),
            status: response.status,
            code: code,
            message: message,
            requestID: document?.requestID ?? head[dialect.headerPrefix + "request-id"],
            retryAfter: head["retry-after"].flatMap { retryDelay($0, now: now) }
        )
        region = document?.region ?? head["x-amz-bucket-region"]
        if error.kind == .clockSkew {
            serverTime =
                head["date"].flatMap { WireDate.parseRFC1123($0) }
                ?? document?.serverTime.flatMap { WireDate.parseISO8601($0) }
        }
    }
}

/// The delay that a `Retry-After` asks for: seconds, or a date; a day at the most.
private func retryDelay(_ value: String, now: Timestamp) -> Duration? {
    if let seconds = Int64(value), seconds >= 0 { return .seconds(min(seconds, 86400)) }
    return WireDate.parseRFC1123(value).map { min(max(.zero, $0 - now), .seconds(86400)) }
}

/// The `<Error>` document of both dialects. Every element is optional.
struct ErrorDocument {
    var code: String?
    var message: String?
    var requestID: String?
    var region: String?
    var endpoint: String?
    var serverTime: String?

    /// Nil when the bytes are not an error document.
    init?(_ body: [UInt8]) {
        do throws(XMLError) {
            var xml = try XMLReader(body)
            guard xml.isNamed("Error") else { return nil }
            while try xml.nextChild() {
                if xml.isNamed("Code") {
                    code = try xml.string()
                } else if xml.isNamed("Message") {
                    message = try xml.string()
                } else if xml.isNamed("RequestId") {
                    requestID = try xml.string()
                } else if xml.isNamed("Region") {
                    region = try xml.string()
                } else if xml.isNamed("Endpoint") {
                    endpoint = try xml.string()
                } else if xml.isNamed("ServerTime") {
                    serverTime = try xml.string()
                } else {
                    try xml.skip()
                }
            }
            try xml.finish()
        } catch {
            return nil
        }
    }
}

extension StoreError.Kind {
    /// What a refusal means, for both dialects: by the provider's code where it is known, else by the status.
    init(code: String, status: Int, message: String = "") {
        self =
            switch code {
            case "AccessDenied" where Self.namesRetention(message), "FileImmutable":
                .protected
            case "AccessDenied": .denied
            case "NoSuchKey", "NoSuchVersion", "SymlinkTargetNotExist": .noSuchKey
            case "NoSuchBucket": .noSuchBucket
            case "PreconditionFailed", "FileAlreadyExists": .preconditionFailed
            case "InvalidObjectState", "ObjectNotInActiveTierError": .invalidObjectState
            case "NoSuchUpload": .noSuchUpload
            case "BucketNotEmpty": .notEmpty
            case "BucketAlreadyExists", "BucketAlreadyOwnedByYou": .preconditionFailed
            case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch":
                .corrupted
            case "InvalidRange": .invalidRange
            case "RequestTimeTooSkewed": .clockSkew
            case "OperationNotSupported", "ObjectAlreadyInActiveTierError": .notArchived
            case "GlacierExpeditedRetrievalNotAvailable": .tierUnavailable
            case "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
                .denied
            case "SlowDown", "QpsLimitExceeded", "TotalQpsLimitExceeded", "MetaOperationQpsLimitExceeded",
                "DownloadTrafficRateLimitExceeded", "UploadTrafficRateLimitExceeded",
                "ActiveRequestLimitExceeded",
                "CpuLimitExceeded":
                .throttled
            case "RequestTimeout": .timeout
            // Somebody else writes the same key, or the store has not made up its mind yet.
            case "OperationAborted", "ConditionalRequestConflict", "InternalError", "ServiceUnavailable":
                .unavailable
            default:
                switch status {
                case 401, 403: .denied
                case 404: .noSuchKey
                case 408: .timeout
                case 412: .preconditionFailed
                case 416: .invalidRange
                case 429: .throttled
                case 501: .invalidRequest
                case 500...599: .unavailable
                case 300...499: .invalidRequest
                default: .nonsense
                }
            }
    }
}

extension StoreError.Kind {
    /// S3 has no code for an object that retention, a legal hold or its kin protect, only words.
    private static func namesRetention(_ message: String) -> Bool {
        let message = message.lowercased()
        return ["object lock", "retention", "worm", "legal hold"].contains { message.contains($0) }
    }
}

extension StoreError {
    /// An exchange that ended without a reply.
    package init(_ error: HTTPError) {
        switch error {
        case .connect(let words): self.init(.unavailable, code: "ConnectionFailed", message: words)
        // The peer is not who it should be: asking again would not make it so.
        case .tls(let words): self.init(.denied, code: "TLSFailed", message: words)
        case .timeout(let words): self.init(.timeout, code: "TimedOut", message: words)
        case .broken(let words): self.init(.unavailable, code: "ConnectionBroken", message: words)
        case .rejected:
            self.init(.nonsense, code: "ReplyTooLarge", message: "the reply is larger than any such reply is")
        case .unreadable(let words): self = .unreadable(words)
        case .cancelled: self = .cancelled
        case .malformedRequest(let words):
            self.init(.invalidRequest, code: "MalformedRequest", message: words)
        }
    }

    package static let cancelled = StoreError(.cancelled, code: "Cancelled", message: "the request was cancelled")

    /// A reply that makes no sense.
    package static func nonsense(_ message: String, status: Int = 0, requestID: String? = nil) -> StoreError {
        StoreError(.nonsense, status: status, code: "Nonsense", message: message, requestID: requestID)
    }

    static func nonsense(_ error: XMLError, status: Int, requestID: String?) -> StoreError {
        nonsense(error.description, status: status, requestID: requestID)
    }
}
