/// The key of an object, or a prefix of keys, as the store has it: bytes, not text.
///
/// Keys are UTF-8 by the providers' rules, but a listing may deliver any byte (through `encoding-type=url`),
/// so nothing here assumes that they decode. Ordering is by byte, the order in which every dialect lists.
package struct ObjectKey: Hashable, Comparable, Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
    package init(_ text: String) { self.bytes = Array(text.utf8) }

    package static let empty = ObjectKey([UInt8]())

    package var isEmpty: Bool { bytes.isEmpty }

    package static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    package static func + (left: ObjectKey, right: some Sequence<UInt8>) -> ObjectKey {
        ObjectKey(left.bytes + Array(right))
    }

    package func hasPrefix(_ prefix: ObjectKey) -> Bool { bytes.starts(with: prefix.bytes) }

    /// It is empty or ends in a slash, as the prefixes of directories do.
    package var isPrefix: Bool { bytes.last.map { $0 == UInt8(ascii: "/") } ?? true }

    /// Where it is a name of: all up to its last slash, which may be nothing.
    package var directory: ObjectKey {
        ObjectKey(bytes.prefix((bytes.dropLast().lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1))
    }

    /// The first key after all those with this prefix; nil when there is none (nothing but 0xFF).
    package var successorOfPrefix: ObjectKey? {
        var bytes = bytes
        while let last = bytes.popLast() {
            if last < 0xFF { return ObjectKey(bytes + [last + 1]) }
        }
        return nil
    }
}

extension ObjectKey: CustomStringConvertible {
    /// For logs and messages: the key as text, with bytes that are not printable UTF-8 shown as `\xNN`.
    package var description: String {
        var text = ""
        if let whole = String(validating: bytes, as: UTF8.self) {
            for scalar in whole.unicodeScalars {
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    text += hexEscape(UInt8(scalar.value))
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        } else {
            for byte in bytes {
                if byte >= 0x20 && byte < 0x7F {
                    text.unicodeScalars.append(Unicode.Scalar(byte))
                } else {
                    text += hexEscape(byte)
                }
            }
        }
        return text
    }

    private func hexEscape(_ byte: UInt8) -> String {
        "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
}
