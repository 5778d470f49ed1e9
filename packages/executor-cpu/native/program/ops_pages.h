#pragma once
#include "op.h"
namespace quaver {
extern const Op kUpdatePages;
}
