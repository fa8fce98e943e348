import Glibc
import Synchronization
import ThawCore
import Wire

/// What can be made to go wrong with one request. Several at once are one rule.
struct Effects: Sendable {
    var error: ProviderError?
    /// The connection closes after so many bytes of the body.
    var cutBodyBytes: UInt64?
    /// Waits between the headers and the body.
    var slowFirstByte: Duration?
    /// Waits before the headers.
    var latency: Duration?
    /// Of the body.
    var bytesPerSecond: Int?
    /// Of the request's body.
    var uploadBytesPerSecond: Int?
    /// What was asked is done, and the connection closes without an answer.
    var losesReply = false
    /// The first byte of an upload changes on the way.
    var corrupts = false
    /// Added to Content-Length; the connection closes after the body.
    var wrongLength: Int64?
    var malformedXML = false
    /// A listing that says it continues and names its own beginning.
    var listingLoops = false
    /// 200 with this error's document as the body.
    var errorBody: ProviderError?
    /// Added to the server's idea of the real time.
    var clockSkew: Duration = .zero
    var tokenExpired = false
    var expeditedUnavailable = false
    var restoreFails = false

    /// The later rule wins where both speak.
    mutating func add(_ other: Effects) {
        error = other.error ?? error
        cutBodyBytes = other.cutBodyBytes ?? cutBodyBytes
        slowFirstByte = other.slowFirstByte ?? slowFirstByte
        latency = other.latency ?? latency
        bytesPerSecond = other.bytesPerSecond ?? bytesPerSecond
        uploadBytesPerSecond = other.uploadBytesPerSecond ?? uploadBytesPerSecond
        losesReply = losesReply || other.losesReply
        corrupts = corrupts || other.corrupts
        wrongLength = other.wrongLength ?? wrongLength
        malformedXML = malformedXML || other.malformedXML
        listingLoops = listingLoops || other.listingLoops
        errorBody = other.errorBody ?? errorBody
        clockSkew += other.clockSkew
        tokenExpired = tokenExpired || other.tokenExpired
        expeditedUnavailable = expeditedUnavailable || other.expeditedUnavailable
        restoreFails = restoreFails || other.restoreFails
    }

    /// Nil for an object that is no effect. Unknown names are refused, so that a misspelt fault is noticed.
    init?(_ json: JSON) {
        guard case .object(let members) = json, !members.isEmpty else { return nil }
        for (name, value) in members where !read(name, value, json) { return nil }
    }

    init() {}

    private mutating func read(_ name: String, _ value: JSON, _ json: JSON) -> Bool {
        switch name {
        case "status":
            guard let status = value.int, (400...599).contains(status) else { return false }
            error = Self.error(status, json)
        case "code", "message", "retry_after": return json["status"] != nil
        case "cut_body": cutBodyBytes = value.int.map { UInt64(max(0, $0)) }
        case "slow_first_byte_ms": slowFirstByte = value.number.map { .milliseconds(Int($0)) }
        case "latency_ms": latency = value.number.map { .milliseconds(Int($0)) }
        case "bandwidth": bytesPerSecond = value.int.map { max(1, $0) }
        case "upload_bandwidth": uploadBytesPerSecond = value.int.map { max(1, $0) }
        case "lose_reply": losesReply = value.bool == true
        case "corrupt": corrupts = value.bool == true
        case "wrong_length": wrongLength = value.int.map { Int64($0) }
        case "malformed_xml": malformedXML = value.bool == true
        case "listing_loop": listingLoops = value.bool == true
        case "error_body":
            errorBody = ProviderError(
                200,
                value.string ?? "InternalError",
                "We encountered an internal error."
            )
        case "clock_skew": clockSkew = .nanoseconds(Int64((value.number ?? 0) * 1e9))
        case "expired_token": tokenExpired = value.bool == true
        case "expedited_unavailable": expeditedUnavailable = value.bool == true
        case "restore_fails": restoreFails = value.bool == true
        default: return false
        }
        return true
    }

    private static func error(_ status: Int, _ json: JSON) -> ProviderError {
        let code =
            switch status {
            case 429: "QpsLimitExceeded"
            case 500: "InternalError"
            case 503: "SlowDown"
            default: "InjectedFault"
            }
        return ProviderError(
            status,
            json["code"]?.string ?? code,
            json["message"]?.string ?? "Please reduce your request rate.",
            headers: json["retry_after"]?.int.map { [("Retry-After", String($0))] } ?? []
        )
    }
}

/// Which requests go wrong, how often, and how.
struct FaultRule: Sendable {
    var method: String?
    var operation: String?
    /// A shell pattern; `*` also matches `/`.
    var key: String?
    var dialect: Dialect?
    /// How often it strikes still; nil for always.
    var times: Int?
    var effects: Effects

    /// Reads `{"op": "GetObject", "key": "a/*", "times": 2, "effect": {"status": 503}}`.
    init?(_ json: JSON) {
        guard let effects = json["effect"].flatMap({ Effects($0) }) else { return nil }
        guard case .object(let members) = json,
            Set(members.keys).isSubset(of: ["method", "op", "key", "dialect", "times", "effect"])
        else { return nil }
        method = json["method"]?.string
        operation = json["op"]?.string
        key = json["key"]?.string
        times = json["times"]?.int
        self.effects = effects
        guard let dialect = json["dialect"] else { return }
        guard let known = dialect.string.flatMap({ Dialect(rawValue: $0) }) else { return nil }
        self.dialect = known
    }

    func matches(_ request: StoreRequest, _ operation: Operation) -> Bool {
        if let method, method != request.method { return false }
        if let name = self.operation, name != operation.rawValue { return false }
        if let dialect, dialect != request.dialect { return false }
        if let key, fnmatch(key, String(decoding: request.key.bytes, as: UTF8.self), 0) != 0 { return false }
        if effects.listingLoops, !operation.isListing { return false }
        if effects.expeditedUnavailable, operation != .restoreObject { return false }
        if effects.restoreFails, operation != .restoreObject, operation != .createJob { return false }
        return true
    }
}

/// The faults in force.
final class Faults: Sendable {
    private let rules = Mutex<[FaultRule]>([])

    func add(_ added: [FaultRule]) { rules.withLock { $0 += added } }

    func clear() { rules.withLock { $0 = [] } }

    /// All that goes wrong with this request; counts it.
    func strike(_ request: StoreRequest, _ operation: Operation) -> Effects {
        rules.withLock { rules in
            var effects = Effects()
            for index in rules.indices
            where rules[index].times != 0 && rules[index].matches(request, operation) {
                effects.add(rules[index].effects)
                rules[index].times = rules[index].times.map { $0 - 1 }
            }
            return effects
        }
    }
}
