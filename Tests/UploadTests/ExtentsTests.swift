import Testing
import ThawTesting
@testable import Upload

@Suite("Extents")
struct ExtentsTests {
    @Test("agree with a set of single bytes, whatever is put in and taken out")
    func model() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<200 {
            var extents = Extents()
            var model = Set<UInt64>()
            for _ in 0..<40 {
                let start = UInt64.random(in: 0..<60, using: &generator)
                let range = start..<start + UInt64.random(in: 0..<12, using: &generator)
                if Bool.random(using: &generator) {
                    extents.insert(range)
                    model.formUnion(range)
                } else {
                    extents.remove(range)
                    model.subtract(range)
                }
                let window = UInt64.random(in: 0..<40, using: &generator)..<65
                #expect(Set(extents.ranges.flatMap { $0 }) == model)
                #expect(extents.sizeBytes == UInt64(model.count))
                #expect(Set(extents.gaps(in: window).flatMap { $0 }) == Set(window).subtracting(model))
                #expect(Set(extents.pieces(in: window).flatMap { $0 }) == model.intersection(Set(window)))
                #expect(extents.contains(window) == Set(window).isSubset(of: model))
                #expect(extents.overlaps(window) == !model.isDisjoint(with: Set(window)))
                #expect(zip(extents.ranges, extents.ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
            }
        }
    }
}

@Suite("Part layout")
struct PartLayoutTests {
    @Test("reaches 5 TiB with 10,000 parts that stores take")
    func reach() throws {
        let layout = PartLayout()
        let parts = layout.parts(of: PartLayout.objectBytesMax)
        #expect(parts.count <= 10_000)
        #expect(parts.last?.range.upperBound == PartLayout.objectBytesMax)
        #expect(parts.dropLast().allSatisfy { (5 << 20...5 << 30).contains($0.range.count) })
        #expect(zip(parts, parts.dropFirst()).allSatisfy { $0.range.upperBound == $1.range.lowerBound })
        #expect(parts.map(\.number) == Array(1...parts.count))
        for part in parts { #expect(layout.start(ofPart: part.number) == part.range.lowerBound) }
    }
}
