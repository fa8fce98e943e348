import ThawCore
import Wire

/// What IBM COS keeps an object for: a time from when it was stored, and legal holds (IBM Cloud docs, "Immutable Object
/// Storage").
struct Retention: Sendable, Equatable {
    static let indefinite: Int64 = -1
    static let permanent: Int64 = -2
    static let holdsMax = 100

    var since: Timestamp
    /// Seconds; or one of the two above.
    var period: Int64
    /// Since when each holds, by its id.
    var holds: [String: Timestamp] = [:]

    /// Nil for one that does not end by itself.
    var expires: Timestamp? { period < 0 ? nil : since + .seconds(period) }

    func isInForce(at now: Timestamp) -> Bool { !holds.isEmpty || expires.map { $0 > now } ?? true }

    func headers(now: Timestamp) -> [(name: String, value: String)] {
        var headers = [("Retention-Period", String(period)), ("Retention-Legal-Hold-Count", String(holds.count))]
        if let expires { headers.append(("Retention-Expiration-Date", WireDate.rfc1123(expires))) }
        return headers
    }

    // MARK: As an object's headers keep it

    var text: String {
        JSON.object([
            "since": JSON(since.nanoseconds), "period": JSON(period),
            "holds": .object(holds.mapValues { JSON($0.nanoseconds) }),
        ]).text
    }

    init?(text: String) {
        guard let json = JSON(Array(text.utf8)), let since = json["since"]?.int, let period = json["period"]?.int
        else { return nil }
        self.init(since: Timestamp(nanoseconds: Int64(since)), period: Int64(period))
        if case .object(let holds)? = json["holds"] {
            self.holds = holds.compactMapValues { $0.int.map { Timestamp(nanoseconds: Int64($0)) } }
        }
    }

    init(since: Timestamp, period: Int64) {
        self.since = since
        self.period = period
    }
}

extension ObjectVersion {
    private static let retentionHeader = "ibm-retention"

    /// Kept among the headers, where no client sees it as it is.
    var retention: Retention? {
        get { headers.first { $0.name == Self.retentionHeader }.flatMap { Retention(text: $0.value) } }
        set {
            headers.removeAll { $0.name == Self.retentionHeader }
            if let newValue { headers.append((Self.retentionHeader, newValue.text)) }
        }
    }

    /// Whether a header is ours to know only.
    func isInternal(_ name: String) -> Bool {
        name.hasPrefix("checksum-") || [Self.retentionHeader, Self.lockHeader].contains(name)
    }

    /// IBM documents no code for it; this one is the likeliest.
    func requireUnprotected(at now: Timestamp) throws(ProviderError) {
        if retention?.isInForce(at: now) ?? false { throw .accessDenied }
    }
}
