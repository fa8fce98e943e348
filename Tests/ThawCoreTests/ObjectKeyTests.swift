import Testing
import ThawCore
import ThawTesting

@Suite("object keys")
struct ObjectKeyTests {
    @Test("a key that is text is shown as it is, control characters escaped")
    func text() {
        #expect(ObjectKey("träume/日本.txt").description == "träume/日本.txt")
        #expect(ObjectKey("a\nb\u{7F}\0").description == #"a\x0ab\x7f\x00"#)
        #expect(ObjectKey("").description.isEmpty)
    }

    @Test("a key that is no text is shown byte by byte")
    func bytes() {
        #expect(ObjectKey([0x61, 0xFF, 0x0A, 0x7E, 0x7F]).description == #"a\xff\x0a~\x7f"#)
        #expect(ObjectKey([0xC3]).description == #"\xc3"#)
    }

    @Test("keys are ordered by byte, a prefix first")
    func order() {
        let keys = ["", "A", "a", "a-b", "a/", "a/b", "a0", "é", "\u{FFFF}", "𐀀"].map { ObjectKey($0) }
        #expect(keys.shuffled().sorted() == keys)
        #expect(ObjectKey([0x7F]) < ObjectKey([0x80]))
        #expect(!(ObjectKey("a") < ObjectKey("a")))
    }

    @Test("for all keys the order is that of their bytes, and adding is concatenation")
    func properties() {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<500 {
            let left = generator.bytes(Int.random(in: 0...4, using: &generator))
            let right = generator.bytes(Int.random(in: 0...4, using: &generator))
            let precedes = zip(left, right).first { $0 != $1 }.map { $0 < $1 } ?? (left.count < right.count)
            #expect((ObjectKey(left) < ObjectKey(right)) == precedes)
            #expect((ObjectKey(left) + right).bytes == left + right)
            #expect((ObjectKey(left) + right).hasPrefix(ObjectKey(left)))
        }
    }
}
