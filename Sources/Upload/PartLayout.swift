internal import ObjectStore
package import Wire

/// Where the parts of a large object lie. A part's place depends on nothing but its number, so that parts can be sent
/// before anybody knows how large the file will be; they grow, so that 10,000 of them reach past 5 TiB.
///
/// Stores take 1 to 10,000 parts of 5 MiB (S3; OSS 100 KiB) to 5 GiB, the last as small as it likes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
package struct PartLayout: Sendable {
    /// What an object may have at the most.
    package static let objectBytesMax: UInt64 = 5 << 40

    /// Of the first parts; 8 MiB but in tests.
    let partBytesMin: UInt64

    /// All parts are of one size, and none is copied (OAS).
    private let isEven: Bool

    package init(partBytesMin: UInt64 = 8 << 20) {
        self.partBytesMin = partBytesMin
        isEven = false
    }

    /// OAS wants parts of one power of two of mebibytes, 64 at the least, and takes 10,000 of them (OAS API manual,
    /// "Multipart uploads"): so large that they reach as far as nearly any file does.
    package init(for dialect: Dialect) {
        isEven = dialect == .oas
        partBytesMin = isEven ? 512 << 20 : 8 << 20
    }

    /// A smaller object is sent whole: one request.
    var wholeBytesMax: UInt64 { 2 * partBytesMin }
    /// What S3 copies or takes as a part that is not the last: 5 MiB at the least. Nil where the store copies none.
    var copyBytesMin: UInt64? { isEven ? nil : partBytesMin / 8 * 5 }
    /// What a file may have at the most.
    var bytesMax: UInt64 { min(Self.objectBytesMax, stretches.reduce(0) { $0 + $1.count * $1.partBytes }) }

    private var stretches: [(count: UInt64, partBytes: UInt64)] {
        if isEven { return [(10_000, partBytesMin)] }
        return [(1_000, partBytesMin), (4_000, 8 * partBytesMin), (5_000, 128 * partBytesMin)]
    }

    package struct Part: Sendable, Equatable {
        /// From 1 on.
        package var number: Int
        package var range: Range<UInt64>
    }

    /// What a part that was sent is of the object.
    func range(of part: UploadedPart) -> Range<UInt64> {
        let start = start(ofPart: part.number)
        return start..<start + part.sizeBytes
    }

    /// It is as large as a part of its number can be.
    func isWhole(_ part: UploadedPart) -> Bool {
        self.part(at: start(ofPart: part.number))?.range == range(of: part)
    }

    func start(ofPart number: Int) -> UInt64 {
        var start: UInt64 = 0
        var before = UInt64(number - 1)
        for (count, partBytes) in stretches {
            let passed = min(before, count)
            start += passed * partBytes
            before -= passed
        }
        return start
    }

    /// The part that this offset lies in; nil past the last.
    package func part(at offset: UInt64) -> Part? {
        var start: UInt64 = 0
        var number: UInt64 = 1
        for (count, partBytes) in stretches {
            let length = count * partBytes
            if offset < start + length {
                let index = (offset - start) / partBytes
                let first = start + index * partBytes
                return Part(number: Int(number + index), range: first..<first + partBytes)
            }
            start += length
            number += count
        }
        return nil
    }

    /// The parts of an object of this size; the last ends where it does.
    package func parts(of sizeBytes: UInt64) -> [Part] {
        var parts: [Part] = []
        var offset: UInt64 = 0
        while offset < sizeBytes, var part = part(at: offset) {
            offset = part.range.upperBound
            part.range = part.range.clamped(to: 0..<sizeBytes)
            parts.append(part)
        }
        return parts
    }
}
