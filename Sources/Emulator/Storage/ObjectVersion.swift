package import ThawCore
import Wire

/// One version of an object, or a delete marker, as the catalog keeps it.
package struct ObjectVersion: Sendable {
    package var key: ObjectKey
    /// `null` for one written while the bucket was not versioned.
    package var versionID: String
    /// Rises with every write in the emulator; the highest of a key is its current version.
    package var sequence: Int64
    package var isDeleteMarker: Bool
    package var sizeBytes: UInt64
    /// Hexadecimal, lowercase, without quotes; `-N` at the end for N parts.
    package var etag: String
    package var modified: Timestamp
    package var archive: ArchiveRecord
    /// Content-Type and the like by their names in lowercase, user metadata as `meta-` and its name,
    /// `checksum-` and its algorithm for what the client sent along.
    package var headers: [(name: String, value: String)]
    /// Nil where the content was never read (seeded objects).
    package var crc64: UInt64?
    package var content: [Segment]

    package init(
        key: ObjectKey,
        versionID: String = "null",
        sequence: Int64 = 0,
        isDeleteMarker: Bool = false,
        sizeBytes: UInt64 = 0,
        etag: String = "",
        modified: Timestamp,
        archive: ArchiveRecord = ArchiveRecord(storageClass: StorageClass("STANDARD")),
        headers: [(name: String, value: String)] = [],
        crc64: UInt64? = nil,
        content: [Segment] = []
    ) {
        self.key = key
        self.versionID = versionID
        self.sequence = sequence
        self.isDeleteMarker = isDeleteMarker
        self.sizeBytes = sizeBytes
        self.etag = etag
        self.modified = modified
        self.archive = archive
        self.headers = headers
        self.crc64 = crc64
        self.content = content
    }

    package var isMultipart: Bool { etag.contains("-") }

    /// As the dialect writes it: quoted, and in uppercase for OSS.
    func etag(_ dialect: Dialect) -> String { dialect == .oss ? "\"\(etag.uppercased())\"" : "\"\(etag)\"" }

    /// The dialect's word for the class: online classes have a name in each.
    func storageClassName(_ dialect: Dialect) -> String {
        switch (dialect, archive.storageClass.name) {
        case (.oss, "STANDARD"): "Standard"
        case (.oss, "STANDARD_IA"): "IA"
        case (.s3, "Standard"), (.cos, "Standard"), (.cos, "IA"), (.cos, "STANDARD_IA"): "STANDARD"
        case (.s3, "IA"): "STANDARD_IA"
        case (_, let name): name
        }
    }
}

/// A run of bytes of an object's content.
package struct Segment: Sendable, Equatable {
    package enum Source: Sendable, Equatable {
        /// A body that was uploaded, by its number.
        case blob(Int64)
        /// Bytes made up on the fly; equal seeds give equal bytes.
        case synthetic(seed: UInt64)
    }

    package var source: Source
    /// Where in the source the run begins.
    package var offset: UInt64
    package var length: UInt64

    package init(source: Source, offset: UInt64, length: UInt64) {
        self.source = source
        self.offset = offset
        self.length = length
    }
}

extension [Segment] {
    /// The segments of a part of the content; `range` must lie in it.
    package func slice(_ range: Range<UInt64>) -> [Segment] {
        var sliced: [Segment] = []
        var start: UInt64 = 0
        for segment in self {
            let end = start + segment.length
            let low = Swift.max(start, range.lowerBound)
            let high = Swift.min(end, range.upperBound)
            if low < high {
                sliced.append(
                    Segment(source: segment.source, offset: segment.offset + low - start, length: high - low)
                )
            }
            start = end
        }
        return sliced
    }

    /// For a column: `b12+0:100;s77+0:50`.
    var text: String {
        map { segment in
            let source =
                switch segment.source {
                case .blob(let number): "b\(number)"
                case .synthetic(let seed): "s\(seed)"
                }
            return "\(source)+\(segment.offset):\(segment.length)"
        }.joined(separator: ";")
    }

    /// Nil for text that `text` did not make.
    init?(text: String) {
        self = []
        for part in text.split(separator: ";") {
            let numbers = part.dropFirst().split(whereSeparator: { $0 == "+" || $0 == ":" })
            guard numbers.count == 3, let offset = UInt64(numbers[1]), let length = UInt64(numbers[2]) else {
                return nil
            }
            let source: Segment.Source
            if part.first == "b", let number = Int64(numbers[0]) {
                source = .blob(number)
            } else if part.first == "s", let seed = UInt64(numbers[0]) {
                source = .synthetic(seed: seed)
            } else {
                return nil
            }
            append(Segment(source: source, offset: offset, length: length))
        }
    }
}
