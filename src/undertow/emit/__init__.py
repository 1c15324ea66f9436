def reader_name(node):
    return node.name or (node.ct_of and "d" + node.ct_of)
