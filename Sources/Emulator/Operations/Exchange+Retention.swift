import ThawCore
import Wire

/// IBM COS: immutable objects (IBM Cloud docs, "Immutable Object Storage").
extension Exchange {
    /// What an upload says of how long its object is to stay; nil when it says nothing.
    func sentRetention() throws(ProviderError) -> Retention? {
        guard request.dialect == .cos else { return nil }
        let now = service.now
        let hold = request.header("retention-legal-hold-id")
        var retention: Retention?
        switch (request.header("retention-period"), request.header("retention-expiration-date")) {
        case (nil, nil): retention = hold.map { _ in Retention(since: now, period: 0) }
        case (let text?, nil):
            guard let period = Int64(text), period >= Retention.permanent else {
                throw .invalidArgument("Retention-Period is not valid.")
            }
            retention = Retention(since: now, period: period)
        case (nil, let text?): retention = Retention(since: now, period: try Self.seconds(until: text, from: now))
        default: throw .invalidArgument("Retention-Period and Retention-Expiration-Date exclude each other.")
        }
        if let hold { try retention?.add(hold, at: now) }
        return retention
    }

    private static func seconds(until text: String, from now: Timestamp) throws(ProviderError) -> Int64 {
        guard let date = WireDate.parseISO8601(text) ?? WireDate.parseBasic(text) ?? WireDate.parseRFC1123(text),
            date >= now
        else { throw .invalidArgument("The expiration date is not valid.") }
        return (date - now).components.seconds
    }

    func changeLegalHold() throws(ProviderError) -> Reply {
        try changeRetention { retention throws(ProviderError) in
            if let id = request.parameter("add") {
                try retention.add(id, at: service.now)
            } else if let id = request.parameter("remove") {
                retention.holds[id] = nil
            } else {
                throw .invalidArgument("add or remove is missing.")
            }
        }
    }

    func extendRetention() throws(ProviderError) -> Reply {
        let now = service.now
        return try changeRetention { retention throws(ProviderError) in
            let asked: [Int64?] = [
                request.header("additional-retention-period").flatMap { Int64($0) }.map { retention.period + $0 },
                request.header("extend-retention-from-current-time").flatMap { Int64($0) }.map {
                    (now - retention.since).components.seconds + $0
                },
                request.header("new-retention-period").flatMap { Int64($0) },
                try request.header("new-retention-expiration-date").map { text throws(ProviderError) in
                    try Self.seconds(until: text, from: retention.since)
                },
            ]
            let periods = asked.compactMap { $0 }
            guard periods.count == 1, retention.period >= 0, periods[0] < 0 || periods[0] >= retention.period else {
                throw .invalidArgument("A retention can only be extended, in one way.")
            }
            retention.period = periods[0]
        }
    }

    private func changeRetention(
        _ change: (inout Retention) throws(ProviderError) -> Void
    ) throws(ProviderError) -> Reply {
        try withBucket { tables, bucket throws(ProviderError) in
            var version = try self.version(tables, bucket, request.key, id: request.versionID)
            guard var retention = version.retention else { throw .invalidArgument("The object has no retention.") }
            try change(&retention)
            version.retention = retention
            try tables.updateHeaders(version, in: bucket)
        }
        return Reply(200)
    }

    func legalHold() throws(ProviderError) -> Reply {
        let version = try withBucket { tables, bucket throws(ProviderError) in
            try self.version(tables, bucket, request.key, id: request.versionID)
        }
        guard let retention = version.retention else { throw .invalidArgument("The object has no retention.") }
        var xml = XMLWriter()
        xml.element("RetentionState", namespace: namespace) { xml in
            xml.element("CreateTime", WireDate.rfc1123(retention.since))
            xml.element("RetentionPeriod", retention.period)
            if let expires = retention.expires {
                xml.element("RetentionPeriodExpirationDate", WireDate.rfc1123(expires))
            }
            xml.element("LegalHoldSet") { xml in
                for (id, date) in retention.holds.sorted(by: { $0.key < $1.key }) {
                    xml.element("LegalHold") { xml in
                        xml.element("ID", id)
                        xml.element("Date", WireDate.rfc1123(date))
                    }
                }
            }
        }
        return .xml(xml)
    }
}

extension Retention {
    fileprivate mutating func add(_ id: String, at now: Timestamp) throws(ProviderError) {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!_.*()-'"
        guard (1...64).contains(id.utf8.count), id.allSatisfy({ letters.contains($0) }),
            holds.count < Self.holdsMax
        else { throw .invalidArgument("The legal hold is not valid.") }
        guard holds[id] == nil else { throw ProviderError(409, "InvalidArgument", "There is a legal hold of this id.") }
        holds[id] = now
    }
}
