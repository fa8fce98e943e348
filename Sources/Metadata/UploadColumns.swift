internal import Database
internal import ObjectStore
internal import ThawCore
internal import Wire

/// Column order of every query that reads uploads.
let uploadColumns = """
    id, key, staging, size, base_key, base_version, base_etag, base_size, base_end, extents, \(attributeColumns), \
    headers, class, condition, condition_etag, accepted_at, error, error_at
    """

extension Statement {
    /// Reads the current row of a query over `uploadColumns`.
    func pendingUpload() -> PendingUpload {
        let condition: WriteCondition =
            switch int64(17) {
            case 1: .isAbsent
            case 2: .matches(etag: text(18))
            default: .always
            }
        var upload = PendingUpload(
            key: ObjectKey(blob(1)), staging: text(2), sizeBytes: uint64(3), base: uploadBase(),
            extents: ExtentsColumn.decode(blob(9)), attributes: fileAttributes(10),
            headers: HeadersColumn.decode(text(15)), storageClass: isNull(16) ? nil : StorageClass(text(16)),
            condition: condition, acceptedAt: Timestamp(nanoseconds: int64(19)))
        upload.id = int64(0)
        if !isNull(20) {
            upload.failure = PendingUpload.Failure(text: text(20), at: Timestamp(nanoseconds: int64(21)))
        }
        return upload
    }

    private func uploadBase() -> PendingUpload.Base? {
        if isNull(4) { return nil }
        return PendingUpload.Base(
            key: ObjectKey(blob(4)), version: isNull(5) ? nil : text(5), etag: text(6), sizeBytes: uint64(7),
            end: uint64(8))
    }

    /// Binds everything but the id, to `?2…?22`.
    func bindUpload(_ upload: PendingUpload) throws(DatabaseError) {
        try bind(upload.key.bytes, at: 2)
        try bind(upload.staging, at: 3)
        try bind(upload.sizeBytes, at: 4)
        try bind(upload.base?.key.bytes, at: 5)
        try bind(upload.base?.version, at: 6)
        try bind(upload.base?.etag, at: 7)
        try bind(upload.base?.sizeBytes, at: 8)
        try bind(upload.base?.end, at: 9)
        try bind(ExtentsColumn.encode(upload.extents), at: 10)
        try bind(upload.attributes, at: 11)
        try bind(HeadersColumn.encode(upload.headers), at: 16)
        try bind(upload.storageClass?.name, at: 17)
        try bind(upload.condition)
        try bind(upload.acceptedAt.nanoseconds, at: 20)
        try bind(upload.failure?.text, at: 21)
        try bind(upload.failure?.at.nanoseconds, at: 22)
    }

    /// Binds `?18` and `?19`.
    func bind(_ condition: WriteCondition) throws(DatabaseError) {
        switch condition {
        case .always: try bind(0, at: 18)
        case .isAbsent: try bind(1, at: 18)
        case .matches(let etag):
            try bind(2, at: 18)
            try bind(etag, at: 19)
        }
    }
}

/// Ranges of bytes as pairs of 8-byte little-endian offsets.
private enum ExtentsColumn {
    static func encode(_ extents: [Range<UInt64>]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(extents.count * 16)
        for offset in extents.lazy.flatMap({ [$0.lowerBound, $0.upperBound] }) {
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: offset >> shift))
            }
        }
        return bytes
    }

    /// Pairs that are no range, which nobody writes, are left out.
    static func decode(_ bytes: [UInt8]) -> [Range<UInt64>] {
        func offset(_ start: Int) -> UInt64 {
            bytes[start..<start + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        return stride(from: 0, to: bytes.count - 15, by: 16).compactMap { start in
            let (first, end) = (offset(start), offset(start + 8))
            return first <= end ? first..<end : nil
        }
    }
}

private enum HeadersColumn {
    static func encode(_ headers: ObjectHeaders) -> String {
        JSON.object([
            "metadata": .object(headers.metadata.mapValues { .string($0) }),
            "standard": .object(headers.standard.mapValues { .string($0) }),
        ]).text
    }

    static func decode(_ text: String) -> ObjectHeaders {
        let json = JSON(Array(text.utf8))
        func strings(_ name: String) -> [String: String] {
            guard case .object(let members) = json?[name] else { return [:] }
            return members.compactMapValues(\.string)
        }
        return ObjectHeaders(metadata: strings("metadata"), standard: strings("standard"))
    }
}
