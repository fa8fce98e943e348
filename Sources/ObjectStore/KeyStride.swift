/// How far the keys of one page of a listing reach, and so where the pages after it should begin.
///
/// The keys are taken for numbers, whose digits are the characters that were seen where the keys differ: names that
/// were counted (`00000999`), and names that were drawn evenly (digests), are foretold well. Of others the guess is a
/// bad one, or there is none.
struct KeyStride {
    /// What comes before the digits, and after them.
    private let head: ArraySlice<UInt8>
    private let tail: ArraySlice<UInt8>
    private let digits: Int
    private let alphabet: [UInt8]
    /// Of each byte in the alphabet; 0xFF for what is none.
    private let ranks: [UInt8]
    private var step: UInt64

    /// Of what is counted, the next page begins exactly there; of what is drawn, a little earlier is better: keys told
    /// twice cost less than another page for those in between.
    private static let caution = 0.9
    /// Digits from the first that differs on. More would make no page begin at a better place.
    private static let precision = 6
    private static let valueMax = UInt64.max >> 4

    /// `keys` are the names of a page in order, without what they share by being in one directory; two at the least.
    init?(_ keys: [ArraySlice<UInt8>]) {
        guard let first = keys.first, let last = keys.last, keys.count > 1 else { return nil }
        let same = zip(first, last).prefix { $0 == $1 }.count
        var tailCount = min(first.count, last.count) - same
        for key in keys where tailCount > 0 {
            tailCount = zip(key.suffix(tailCount).reversed(), last.reversed()).prefix { $0 == $1 }.count
        }
        var isDigit = [Bool](repeating: false, count: 256)
        for key in keys { for byte in key.dropFirst(same).dropLast(tailCount) { isDigit[Int(byte)] = true } }
        alphabet = isDigit.indices.filter { isDigit[$0] }.map { UInt8($0) }
        guard alphabet.count > 1 else { return nil }
        var ranks = [UInt8](repeating: 0xFF, count: 256)
        for (rank, byte) in alphabet.enumerated() { ranks[Int(byte)] = UInt8(rank) }
        self.ranks = ranks
        var (digitsMax, reach) = (0, UInt64(1))
        while reach <= Self.valueMax / UInt64(alphabet.count) {
            reach *= UInt64(alphabet.count)
            digitsMax += 1
        }
        // Carried into what all keys of the page share, as far as that could be digits.
        let own = last.dropLast(tailCount)
        let end = min(own.count, same + min(Self.precision, digitsMax))
        let shared = own.prefix(same).reversed().prefix { isDigit[Int($0)] }.count
        let begin = max(same - shared, end - digitsMax)
        head = own.prefix(begin)
        tail = end == own.count ? last.suffix(tailCount) : []
        digits = end - begin
        // Until `value` can be asked.
        step = 0
        let values = keys.compactMap { value($0) }
        guard values.count == keys.count, let low = values.first, let high = values.last, high > low else { return nil }
        let gap = values[1] &- values[0]
        let isEven = tail.count == tailCount && zip(values, values.dropFirst()).allSatisfy { $1 &- $0 == gap }
        let span = Double(high - low) * Double(keys.count) / Double(keys.count - 1)
        step = UInt64(isEven ? span.rounded() : span * Self.caution)
        guard step > 0 else { return nil }
    }

    /// Where the page ends that begins after this name; nil if that cannot be told.
    func end(after name: ArraySlice<UInt8>) -> [UInt8]? {
        guard let value = value(name) else { return nil }
        var rest = value + step
        var guess: [UInt8] = []
        for _ in 0..<digits {
            let (quotient, rank) = rest.quotientAndRemainder(dividingBy: UInt64(alphabet.count))
            guess.append(alphabet[Int(rank)])
            rest = quotient
        }
        return rest == 0 ? head + guess.reversed() + tail : nil
    }

    private func value(_ name: ArraySlice<UInt8>) -> UInt64? {
        guard name.starts(with: head) else { return nil }
        var value: UInt64 = 0
        var rest = name.dropFirst(head.count)
        for _ in 0..<digits {
            value *= UInt64(alphabet.count)
            // What ends early sorts first.
            guard let byte = rest.popFirst() else { continue }
            let rank = ranks[Int(byte)]
            // The tail of a shorter name.
            guard rank != 0xFF else {
                rest = []
                continue
            }
            value += UInt64(rank)
        }
        return value
    }
}
