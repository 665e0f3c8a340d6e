//! Packet rules, pure: typed nft tables, their one statement tree, diff and evaluator.
