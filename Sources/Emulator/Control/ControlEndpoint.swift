import ThawCore
import Wire

/// `/_emulator/…`: what tests and demonstrations steer the store with. Unsigned, JSON in and out.
///
///     GET  clock                                     {"now": …, "ahead_seconds": …, "scale": …}
///     POST clock     {"advance": "12h"} {"scale": 60}
///     POST faults    [{"op": "GetObject", "method", "key": "a/*", "dialect", "times": 2, "effect": {…}}]
///     DELETE faults
///     GET  requests                                  counts, bytes, the latest lines
///     DELETE requests
///     POST seed      {"bucket", "prefix", "count", "size", "class", "pattern"}
///     POST object    {"bucket", "key", "version", "class", "archive_status", "state", "for"}
///     POST vault     {"name"}
///     POST job       {"vault", "archive", "state", "for"}
///     POST backup    {"vault", "name", "snapshots": […]}: see `Backups.seed`
///     POST tokens    {"life": "5s"} {"revoke": true}
struct ControlEndpoint {
    static let prefix = "/_emulator/"

    let service: StoreService

    func perform(method: String, path: String, body: [UInt8]) -> Reply {
        do throws(ProviderError) {
            return try route(method, String(path.dropFirst(Self.prefix.count)), body)
        } catch {
            return .json(
                ["code": .string(error.code), "message": .string(error.message)],
                status: error.status
            )
        }
    }

    private func route(_ method: String, _ name: String, _ body: [UInt8]) throws(ProviderError) -> Reply {
        switch (method, name) {
        case ("GET", "clock"): return .json(service.clockJSON)
        case ("POST", "clock"): return try setClock(try json(body))
        case ("POST", "faults"): return try addFaults(try json(body))
        case ("DELETE", "faults"): service.faults.clear()
        case ("GET", "requests"): return .json(service.log.json)
        case ("DELETE", "requests"): service.log.clear()
        case ("POST", "seed"): return try seed(try json(body))
        case ("POST", "object"): return try setObject(try json(body))
        case ("POST", "vault"): return try makeVault(try json(body))
        case ("POST", "job"): return try setJob(try json(body))
        case ("POST", "backup"): try service.backups.seed(try json(body), at: service.now)
        case ("POST", "tokens"): try setTokens(try json(body))
        default: throw ProviderError(404, "NoSuchControl", "There is no \(method) \(name).")
        }
        return .json([:])
    }

    private func json(_ body: [UInt8]) throws(ProviderError) -> JSON {
        guard let json = JSON(body) else { throw .invalidArgument("The body is not JSON.") }
        return json
    }

    private func setClock(_ json: JSON) throws(ProviderError) -> Reply {
        if let span = json["advance"] {
            guard
                let duration = span.string.flatMap({ Duration(span: $0) })
                    ?? span.number.map({ .seconds($0) }),
                duration >= .zero
            else { throw .invalidArgument("advance must be a span like 90, 12h or 2d.") }
            try service.setClock { clock, real in clock.advance(by: duration, real: real) }
        }
        if let scale = json["scale"] {
            guard let scale = scale.number, (0...1e6).contains(scale) else {
                throw .invalidArgument("scale must be a number from 0 to 1000000.")
            }
            try service.setClock { clock, real in clock.setScale(scale, real: real) }
        }
        return .json(service.clockJSON)
    }

    private func setTokens(_ json: JSON) throws(ProviderError) {
        if let life = json["life"] {
            guard let life = life.string.flatMap({ Duration(span: $0) }), life >= .seconds(1) else {
                throw .invalidArgument("life must be a span like 5s or 1h.")
            }
            service.authorization.tokens.setLife(life)
        }
        if json["revoke"]?.bool == true { service.authorization.tokens.revoke() }
    }

    private func addFaults(_ json: JSON) throws(ProviderError) -> Reply {
        var rules: [FaultRule] = []
        for element in json.array ?? [json] {
            guard let rule = FaultRule(element) else {
                throw .invalidArgument("Not a fault: \(element.text)")
            }
            rules.append(rule)
        }
        service.faults.add(rules)
        return .json(["added": JSON(rules.count)])
    }

    /// Creates objects whose content is made up when it is read. `pattern` has `{i}` for the number, `{i:6}`
    /// for it with leading zeros, and `{d}` for its thousands; the bucket is created if it does not exist.
    private func seed(_ json: JSON) throws(ProviderError) -> Reply {
        guard let name = json["bucket"]?.string, let count = json["count"]?.int,
            (0...10_000_000).contains(count),
            let size = json["size"]?.int, size >= 0
        else { throw .invalidArgument("seed wants bucket, count (up to 10000000) and size.") }
        let prefix = json["prefix"]?.string ?? ""
        let pattern = KeyPattern(prefix + (json["pattern"]?.string ?? "{i:8}"))
        let storageClass = StorageClass(json["class"]?.string ?? "Standard")
        try service.catalog.perform { tables throws(ProviderError) in
            _ = try tables.createBucket(name, storageClass: "Standard", created: .now())
            let bucket = try tables.bucket(name)
            let modified = Timestamp.now()
            var sequence = try tables.nextSequence()
            for number in 0..<count {
                let key = pattern.key(number)
                if try tables.current(bucket, key) != nil {
                    throw ProviderError(409, "KeyExists", "There is an object \(key) already.")
                }
                let seed = SyntheticContent.seed(bucket: name, key: key.bytes)
                let etag = Hex.encode(
                    [seed, UInt64(size)].flatMap { number in
                        withUnsafeBytes(of: number.bigEndian) { Array($0) }
                    }
                )
                let content =
                    size == 0
                    ? [] : [Segment(source: .synthetic(seed: seed), offset: 0, length: UInt64(size))]
                let version = ObjectVersion(
                    key: key,
                    sequence: sequence,
                    sizeBytes: UInt64(size),
                    etag: etag,
                    modified: modified,
                    archive: ArchiveRecord(storageClass: storageClass),
                    content: content
                )
                try tables.insert(version, in: bucket)
                sequence += 1
            }
            try tables.setSetting("sequence", String(sequence))
        }
        return .json(["created": JSON(count)])
    }

    /// Puts an object into a state, whatever led there: `frozen`, `restoring` or `restored`, the last two for
    /// the span `for` (an hour, a day).
    private func setObject(_ json: JSON) throws(ProviderError) -> Reply {
        guard let name = json["bucket"]?.string, let key = json["key"]?.string else {
            throw .invalidArgument("object wants bucket and key.")
        }
        let now = service.now
        var span: Duration?
        if let text = json["for"] {
            guard let parsed = text.string.flatMap({ Duration(span: $0) }) else {
                throw .invalidArgument("for must be a span like 90, 12h or 2d.")
            }
            span = parsed
        }
        let restore: ArchiveRecord.Restore??
        switch json["state"]?.string {
        case nil: restore = nil
        case "frozen"?: restore = .some(nil)
        case "restoring"?:
            let ready = now + (span ?? .seconds(3600))
            restore = ArchiveRecord.Restore(ready: ready, expiry: ready + .seconds(86400), tier: nil)
        case "restored"?:
            restore = ArchiveRecord.Restore(ready: now, expiry: now + (span ?? .seconds(86400)), tier: nil)
        case let state?: throw .invalidArgument("There is no state \(state).")
        }
        try service.catalog.perform { tables throws(ProviderError) in
            let bucket = try tables.bucket(name)
            let id = json["version"]?.string
            let found =
                id == nil
                ? try tables.current(bucket, ObjectKey(key))
                : try tables.version(bucket, ObjectKey(key), id: id ?? "")
            guard var version = found else { throw .noSuchKey }
            if let storageClass = json["class"]?.string {
                version.archive.storageClass = StorageClass(storageClass)
            }
            if let status = json["archive_status"] { version.archive.archiveStatus = status.string }
            if let restore { version.archive.restore = restore }
            try tables.updateArchive(version, in: bucket)
        }
        return .json([:])
    }
}

/// Keys numbered by a pattern.
struct KeyPattern {
    private enum Part {
        case text([UInt8])
        case number(width: Int)
        case thousands
    }

    private var parts: [Part] = []

    init(_ pattern: String) {
        var rest = pattern[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            let field = rest[rest.index(after: open)..<close]
            let part: Part? =
                field == "i"
                ? .number(width: 0)
                : field == "d"
                    ? .thousands
                    : field.hasPrefix("i:") ? Int(field.dropFirst(2)).map { .number(width: $0) } : nil
            parts.append(.text(Array(rest[..<open].utf8)))
            parts.append(part ?? .text(Array(rest[open...close].utf8)))
            rest = rest[rest.index(after: close)...]
        }
        parts.append(.text(Array(rest.utf8)))
    }

    func key(_ number: Int) -> ObjectKey {
        var key: [UInt8] = []
        for part in parts {
            switch part {
            case .text(let text): key += text
            case .thousands: key += Array(String(number / 1000).utf8)
            case .number(let width):
                let digits = Array(String(number).utf8)
                key += [UInt8](repeating: UInt8(ascii: "0"), count: max(0, width - digits.count)) + digits
            }
        }
        return ObjectKey(key)
    }
}
