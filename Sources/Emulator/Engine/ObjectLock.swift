import ThawCore
import Wire

/// What S3 keeps a version for: a time, in one of two modes, and a legal hold (S3 User Guide, "Locking objects with
/// Object Lock").
struct ObjectLock: Sendable, Equatable {
    enum Mode: String, Sendable {
        /// Whoever may, says so with each request, and is not bound.
        case governance = "GOVERNANCE"
        case compliance = "COMPLIANCE"
    }

    struct Term: Sendable, Equatable {
        var mode: Mode
        var until: Timestamp
    }

    var term: Term?
    var isHeld = false

    func forbidsDeletion(at now: Timestamp, bypassing: Bool) -> Bool {
        isHeld || term.map { $0.until > now && !(bypassing && $0.mode == .governance) } ?? false
    }

    var headers: [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        if let term {
            headers += [
                ("x-amz-object-lock-mode", term.mode.rawValue),
                ("x-amz-object-lock-retain-until-date", WireDate.iso8601(term.until)),
            ]
        }
        if isHeld { headers.append(("x-amz-object-lock-legal-hold", "ON")) }
        return headers
    }

    // MARK: As an object's headers keep it

    var text: String {
        JSON.object([
            "mode": JSON(term?.mode.rawValue), "until": term.map { JSON($0.until.nanoseconds) } ?? .null,
            "held": .bool(isHeld),
        ]).text
    }

    init() {}

    init?(text: String) {
        guard let json = JSON(Array(text.utf8)) else { return nil }
        if let mode = json["mode"]?.string.flatMap(Mode.init), let until = json["until"]?.int {
            term = Term(mode: mode, until: Timestamp(nanoseconds: Int64(until)))
        }
        isHeld = json["held"] == .bool(true)
    }
}

extension ObjectVersion {
    static let lockHeader = "s3-object-lock"

    /// Kept among the headers, where no client sees it as it is.
    var lock: ObjectLock? {
        get { headers.first { $0.name == Self.lockHeader }.flatMap { ObjectLock(text: $0.value) } }
        set {
            headers.removeAll { $0.name == Self.lockHeader }
            if let newValue { headers.append((Self.lockHeader, newValue.text)) }
        }
    }
}
