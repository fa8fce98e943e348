import Testing
import ThawCore
import ThawTesting

@testable import Restore

/// Keys of few characters, so that many share prefixes: each stands for a kind of byte.
private func randomKey(_ random: inout SeededGenerator) -> ObjectKey {
    let letters = [
        "\0", "\u{1}", " ", "!", "\"", "a", "b", "/", "~", "\u{7F}", "é", "\u{7FF}", "\u{FFFD}", "\u{10FFFF}",
    ]
    let count = Int.random(in: 1...6, using: &random)
    return ObjectKey((0..<count).map { _ in letters.randomElement(using: &random) ?? "" }.joined())
}

@Suite("keys and their neighbours")
struct KeyOrderTests {
    @Test("a key's predecessor is before it, and text if the key is", arguments: [1, 2, 3] as [UInt64])
    func predecessor(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<1000 {
            let key = randomKey(&random)
            let before = try #require(key.predecessor)
            #expect(before < key)
            #expect(String(validating: before.bytes, as: UTF8.self) != nil, "\(key)")
        }
        #expect(ObjectKey.empty.predecessor == nil)
    }

    @Test("the predecessor of a key of plain letters differs in the last one only")
    func plain() {
        #expect(ObjectKey("dir/b").predecessor == ObjectKey("dir/a\u{FFFD}"))
        #expect(ObjectKey("dir/").predecessor == ObjectKey("dir.\u{FFFD}"))
        #expect(ObjectKey("dir/é").predecessor == ObjectKey("dir/"))
        #expect(ObjectKey([0x61, 0xFF]).predecessor == ObjectKey("a"))
    }

    @Test("a common prefix is one of both keys, the longest that is text", arguments: [1, 2, 3] as [UInt64])
    func commonPrefix(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<1000 {
            let (one, other) = (randomKey(&random), randomKey(&random))
            let prefix = one.commonPrefix(with: other)
            #expect(one.hasPrefix(prefix) && other.hasPrefix(prefix))
            #expect(String(validating: prefix.bytes, as: UTF8.self) != nil, "\(one) \(other)")
            #expect(other.commonPrefix(with: one) == prefix)
            // Character by character: no longer one would do.
            let texts = [one, other].map { Array(String(decoding: $0.bytes, as: UTF8.self).unicodeScalars) }
            let shared = zip(texts[0], texts[1]).prefix { $0 == $1 }.map(\.0)
            #expect(prefix == ObjectKey(String(String.UnicodeScalarView(shared))))
        }
        #expect(ObjectKey("ab").commonPrefix(with: ObjectKey("ab")) == ObjectKey("ab"))
    }
}
