#pragma once
#include "op.h"
namespace quaver {
extern const Op kReduce, kSelect, kCompare, kIota, kInteger, kLogical;
}
